import adapter from '@sveltejs/adapter-static';
import { sveltekit } from '@sveltejs/kit/vite';
import tailwindcss from '@tailwindcss/vite';
import { defineConfig } from 'vite';

const gateway = `http://127.0.0.1:${process.env.ROOKERY_PORT ?? 4000}`;

export default defineConfig({
  plugins: [
    tailwindcss(),
    sveltekit({
      // One page for every path: the gateway answers unknown paths with it and the browser routes.
      adapter: adapter({ pages: 'build', fallback: 'index.html', precompress: true }),
      compilerOptions: { runes: true },
      // Written into the page itself, with the hash of the inline starter: it holds whoever serves the files.
      csp: {
        mode: 'hash',
        directives: {
          'default-src': ['self'],
          'script-src': ['self'],
          // Transitions and floating elements set style attributes.
          'style-src': ['self', 'unsafe-inline'],
          'img-src': ['self', 'data:'],
          'connect-src': ['self'],
          'object-src': ['none'],
          'base-uri': ['self'],
          'form-action': ['self'],
        },
      },
    }),
  ],
  server: {
    proxy: {
      '/graphql': { target: gateway, ws: true },
      '/session': { target: gateway },
    },
  },
});
