//! What the tests share: private servers, a running app, clients.
