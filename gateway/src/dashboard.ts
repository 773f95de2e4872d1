import { sendJson } from '@rookery/wire/http.ts';
import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import sirv from 'sirv';

const BUILD = fileURLToPath(new URL('../../web/build', import.meta.url));

/** Sent with every page of the dashboard. */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
};

/** Serves the built dashboard; every path that is no file is one of its pages. */
export function serveDashboard(): (request: IncomingMessage, response: ServerResponse) => void {
  if (!existsSync(BUILD)) {
    return (_request, response) =>
      sendJson(response, 503, { error: 'The dashboard has not been built; run "npm run build".' });
  }
  const files = sirv(BUILD, {
    single: 'index.html',
    gzip: true,
    brotli: true,
    setHeaders: (response, path) => {
      for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
      response.setHeader(
        'cache-control',
        path.includes('/immutable/') ? 'public, max-age=31536000, immutable' : 'no-cache',
      );
    },
  });
  return (request, response) => files(request, response, () => sendJson(response, 404, { error: 'not found' }));
}
