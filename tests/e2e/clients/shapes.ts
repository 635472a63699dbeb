// The shapes of the answers that the tests read.
export type TimelineEvent =
  | { __typename: 'EntryAdded'; cursor: string; entry: { id: string; text?: string } }
  | { __typename: 'EntryRemoved'; cursor: string; entryId: string }
  | { __typename: 'ItemRemoved'; cursor: string; itemId: string }
  | { __typename: 'CaughtUp' | 'Gap'; cursor: string };

export type TimelineData = { timeline: TimelineEvent };

export const TIMELINE = `subscription Timeline($itemId: ID, $after: Cursor) { timeline(itemId: $itemId, after: $after) {
  __typename
  ... on EntryAdded { cursor entry { id ... on NoteAdded { text } } }
  ... on EntryRemoved { cursor entryId }
  ... on ItemRemoved { cursor itemId }
  ... on CaughtUp { cursor }
  ... on Gap { cursor }
} }`;

export const CREATE_DEAL = `mutation CreateDeal($input: CreateDealInput!) {
  createDeal(input: $input) { deal { id title } userErrors { code message } } }`;

export const ADD_NOTE = `mutation AddNote($input: AddNoteInput!) {
  addNote(input: $input) { entry { id text } userErrors { code message } } }`;

export type CreateDealData = { createDeal: { deal: { id: string; title: string }; userErrors: unknown[] } };
export type AddNoteData = { addNote: { entry: { id: string; text: string }; userErrors: unknown[] } };

/** Every note of an item by the table, oldest first. */
export async function notesOf(ask: <T>(query: string, variables: Record<string, unknown>) => Promise<T>, itemId: string): Promise<string[]> {
  type Page = { node: { timeline: { nodes: { text: string }[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } } } };
  const query = `query Notes($itemId: ID!, $after: Cursor) { node(id: $itemId) { ... on Deal {
    timeline(kinds: [NOTE_ADDED], first: 100, after: $after) { nodes { ... on NoteAdded { text } } pageInfo { hasNextPage endCursor } } } } }`;
  const notes: string[] = [];
  for (let after: string | null = null; ;) {
    const { node }: Page = await ask<Page>(query, { itemId, after });
    notes.push(...node.timeline.nodes.map((entry) => entry.text));
    if (!node.timeline.pageInfo.hasNextPage) return notes;
    after = node.timeline.pageInfo.endCursor;
  }
}
