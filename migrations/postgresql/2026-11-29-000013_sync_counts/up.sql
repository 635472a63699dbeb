-- What a folder holds is counted by an index over all its lines, less what these list: few lines, as a rule.
CREATE INDEX placements_gone ON placements (folder_id, epoch) WHERE gone_at IS NOT NULL OR state = 'GONE';
CREATE INDEX placements_old ON placements (folder_id, epoch) WHERE state IN ('OLD', 'ERASED') AND gone_at IS NULL;
