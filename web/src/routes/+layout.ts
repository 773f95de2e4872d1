/** The gateway serves one static page; everything happens in the browser. */
export const ssr = false;
export const prerender = false;
