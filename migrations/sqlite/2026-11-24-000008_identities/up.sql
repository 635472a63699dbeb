-- Who somebody is to an issuer of tokens outside (OpenID Connect): one subject, one user, whatever addresses become of them.
CREATE TABLE user_identities (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  user_id BIGINT REFERENCES users (id) ON DELETE CASCADE, -- NULL: it was taken back, and is nobody until an operator names it
  created_at BIGINT NOT NULL,
  PRIMARY KEY (issuer, subject),
  UNIQUE (issuer, user_id)
);
