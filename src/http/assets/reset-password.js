// Sends the new password with the token of the link. The token stands behind the #, so that no server log ever sees it.
const form = document.getElementById('form');
const status = document.getElementById('status');
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const field = (name) => form.elements.namedItem(name).value;
  if (field('password') !== field('again')) {
    status.textContent = 'The two passwords differ.';
    return;
  }
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? '';
  const body = JSON.stringify({ token, password: field('password') });
  try {
    const response = await fetch('/reset-password', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const answer = await response.json();
    if (answer.done) {
      form.hidden = true;
      status.textContent = 'Done. Log in with your new password.';
    } else {
      status.textContent = (answer.errors ?? ['It did not work.']).join('\n');
    }
  } catch (error) {
    status.textContent = 'The server did not answer. Try again in a while.';
  }
});
