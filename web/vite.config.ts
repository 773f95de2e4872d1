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
      adapter: adapter({ pages: 'build', fallback: 'index.html' }),
      compilerOptions: { runes: true },
    }),
  ],
  server: {
    proxy: {
      '/graphql': { target: gateway, ws: true },
      '/session': { target: gateway },
    },
  },
});
