// Sends the form with the token of the link. The token stands behind the #, so that no server log ever sees it.
const form = document.getElementById('form');
const status = document.getElementById('status');
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? '';
  const field = (name) => form.elements.namedItem(name).value;
  const body = JSON.stringify({ token, name: field('name'), address: field('address'), password: field('password') });
  try {
    const response = await fetch('/set-up', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const answer = await response.json();
    if (answer.done) {
      form.hidden = true;
      status.textContent = 'Done. Log in with logIn in GraphiQL: ' + location.origin + '/graphiql';
    } else {
      status.textContent = (answer.errors ?? ['It did not work.']).join('\n');
    }
  } catch (error) {
    status.textContent = 'The server did not answer. Is it running?';
  }
});
