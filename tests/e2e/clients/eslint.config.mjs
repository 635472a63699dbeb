// schema.graphql judged by graphql-eslint: what is recommended for schemas, and what Relay asks for.
import graphql from '@graphql-eslint/eslint-plugin';

const schema = new URL('../../../schema.graphql', import.meta.url).pathname;

export default [
  {
    files: ['**/*.graphql'],
    languageOptions: { parser: graphql.parser, parserOptions: { graphQLConfig: { schema } } },
    plugins: { '@graphql-eslint': graphql },
    rules: {
      ...graphql.configs['flat/schema-recommended'].rules,
      ...graphql.configs['flat/schema-relay'].rules,
      // The SDL is printed with descriptions in one line where they fit, and in blocks where they don't.
      '@graphql-eslint/description-style': 'off',
      // The address of an `Address` is one: clients rely on the name.
      '@graphql-eslint/no-typename-prefix': 'off',
      // Values, payloads, pages and edges are no things of their own: what has an id is a node.
      '@graphql-eslint/strict-id-in-types': 'off',
      // Short lists (links of an email, roles of a user) have no pages, and connections have `nodes` beside `edges`.
      // A hit of a search is no node of its own: it tells where in which node the words were found.
      '@graphql-eslint/relay-edge-types': ['error', { listTypeCanWrapOnlyEdgeType: false, shouldImplementNode: false }],
    },
  },
];
