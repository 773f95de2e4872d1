// Sets the theme before the first paint. lib/ui/theme.svelte.ts is what changes it afterwards.
(function () {
  var choice = null;
  try {
    choice = localStorage.getItem('rookery.theme');
  } catch {
    // Storage may be blocked; the system's theme it is.
  }
  var dark = choice === 'dark' || (choice !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
