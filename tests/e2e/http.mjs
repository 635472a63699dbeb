// GraphQL over HTTP: all audits of npm graphql-http, the working group's own suite; MAY counts like MUST.
import { serverAudits } from 'graphql-http';
import { Report, expect } from './report.mjs';

const DEADLINE_MS = 10_000;

export async function checkHttp({ url, token }) {
  const report = new Report('GraphQL over HTTP, audits of graphql-http');
  const fetchFn = (address, init = {}) => {
    const headers = { authorization: `Bearer ${token}`, ...init.headers };
    return fetch(address, { ...init, headers, signal: AbortSignal.timeout(DEADLINE_MS) });
  };
  // One after the other, so that a failure is never the load's.
  for (const audit of serverAudits({ url, fetchFn })) {
    await report.check(`${audit.id} ${audit.name}`, async () => {
      const result = await audit.fn();
      const got = result.response ? ` (HTTP ${result.response.status})` : '';
      expect(result.status === 'ok', `${result.reason}${got}`);
    });
  }
  return report.close();
}
