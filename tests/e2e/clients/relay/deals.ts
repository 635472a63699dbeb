// What a Relay application asks for: lists that page, fragments that are refetched by id, a mutation, a subscription.
import { graphql } from 'relay-runtime';

export const page = graphql`query dealsPageQuery($count: Int!) { ...deals_list @arguments(count: $count) viewer { name } }`;

export const list = graphql`fragment deals_list on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "Cursor" })
  @refetchable(queryName: "dealsListPaginationQuery") {
  deals(first: $count, after: $cursor) @connection(key: "deals_deals") { edges { node { id title ...deals_deal } } }
}`;

export const deal = graphql`fragment deals_deal on Deal @refetchable(queryName: "dealsDealRefetchQuery") {
  title version amount { amount currency } stage { name } responsible { name avatarUrl }
  emails(first: 10) { edges { node { subject preview receivedAt } } }
}`;

export const timeline = graphql`fragment deals_timeline on Deal
  @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "Cursor" })
  @refetchable(queryName: "dealsTimelinePaginationQuery") {
  timeline(last: $count, before: $cursor) @connection(key: "deals_timeline") { edges { node { id at actor { name } } } liveCursor }
}`;

export const update = graphql`mutation dealsUpdateMutation($input: UpdateDealInput!) {
  updateDeal(input: $input) { deal { ...deals_deal } userErrors { code message field } }
}`;

export const live = graphql`subscription dealsTimelineSubscription($itemId: ID, $after: Cursor) {
  timeline(itemId: $itemId, after: $after) { __typename ... on EntryAdded { cursor entry { id at } } ... on CaughtUp { cursor } ... on Gap { cursor } }
}`;
