// GraphiQL over Mailroom's own endpoint. The token stays in this tab: in memory and sessionStorage,
// never in a URL that is sent, never in localStorage.
'use strict';
(() => {
  const KEY = 'mailroom.token';
  const DEFAULT_QUERY = `# Queries go over HTTP, subscriptions over
# WebSocket, both with the token above.
# The button runs either of these two.

query Timeline {
  timeline(last: 10) {
    nodes {
      ...Entry
    }
    liveCursor
  }
}

# Stays open: new mail appears as it is saved.
subscription LiveTimeline {
  timeline {
    __typename
    ... on EntryAdded {
      cursor
      entry {
        ...Entry
      }
    }
  }
}

fragment Entry on TimelineEntry {
  __typename
  at
  item {
    __typename
    title
  }
  actor {
    name
  }
  ... on EmailReceived {
    email {
      subject
      from {
        name
        address
      }
      preview
    }
  }
  ... on EmailSent {
    email {
      subject
      preview
    }
  }
}
`;

  // What comes after # reaches no server. It is taken out of the address at once, so that the token
  // stays in no history entry.
  const fragment = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, '', location.pathname + location.search);
  let token = (fragment.get('token') ?? sessionStorage.getItem(KEY) ?? '').trim();
  const givenQuery = fragment.get('query') ?? undefined;
  const givenVariables = fragment.get('variables') ?? undefined;

  const field = document.getElementById('token');
  const status = document.getElementById('status');
  const say = (text, kind = '') => { status.textContent = text; status.className = kind; };

  const authorized = (init) => {
    const headers = new Headers(init?.headers);
    if (token && !headers.has('authorization')) headers.set('authorization', `Bearer ${token}`);
    return { ...init, headers, credentials: 'omit' };
  };

  const socketUrl = new URL('/graphql', location.href);
  socketUrl.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';

  // A fetcher of its own per token: GraphiQL then reads the schema again.
  const makeFetcher = () => {
    const wsClient = graphqlWs.createClient({
      url: socketUrl.href,
      connectionParams: () => (token ? { authorization: `Bearer ${token}` } : {}),
      retryAttempts: 5,
      on: {
        connected: () => say('Live', 'good'),
        closed: (event) => {
          if (event.code !== 1000) say(`Socket closed: ${event.code} ${event.reason}`, 'bad');
          else say(token ? 'Token in use' : '');
        },
      },
    });
    return GraphiQL.createFetcher({
      url: '/graphql',
      wsClient,
      fetch: async (url, init) => {
        const response = await fetch(url, authorized(init));
        if (response.status === 401) say(token ? 'The token is not accepted' : 'A token is needed', 'bad');
        else if (token && status.className === 'bad') say('Token in use');
        return response;
      },
    });
  };

  const root = ReactDOM.createRoot(document.getElementById('graphiql'));
  const show = () => {
    sessionStorage.setItem(KEY, token);
    field.value = token;
    say(token ? 'Token in use' : 'No token');
    root.render(React.createElement(GraphiQL, {
      fetcher: makeFetcher(),
      query: givenQuery,
      variables: givenVariables,
      defaultQuery: DEFAULT_QUERY,
      isHeadersEditorEnabled: false,
      shouldPersistHeaders: false,
    }));
  };

  document.getElementById('bar').addEventListener('submit', (event) => {
    event.preventDefault();
    token = field.value.trim().replace(/^Bearer\s+/i, '');
    show();
  });
  show();
})();
