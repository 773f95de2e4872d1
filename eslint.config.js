import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';

/** Forbids imports that would go against an arrow of docs/ARCHITECTURE.md. */
const arrows = (files, patterns) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns }] },
});

/** What Node 20 does not have; the machines that join run the agent with it. */
const newerThanNode20 = [
  ['Promise', 'withResolvers'],
  ['Promise', 'try'],
  ['Array', 'fromAsync'],
  ['Map', 'groupBy'],
  ['Object', 'groupBy'],
  ['RegExp', 'escape'],
].map(([object, property]) => ({ object, property, message: 'The agent runs on Node 20, which does not have it.' }));

export default ts.config(
  { ignores: ['**/node_modules', '**/dist', '**/build', '**/.svelte-kit', '**/generated', '.rookery'] },
  js.configs.recommended,
  ts.configs.recommended,
  svelte.configs.recommended,
  { languageOptions: { globals: globals.node } },
  {
    files: ['web/**'],
    languageOptions: { globals: globals.browser },
  },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { parser: ts.parser } },
  },
  {
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-undef': 'off',
      // Every href is built in web/src/lib/links.ts.
      'svelte/no-navigation-without-resolve': 'off',
    },
  },
  arrows(
    ['control/src/accounts/**'],
    [
      { group: ['**/fleet/**'], message: 'The subgraphs never import each other; use a port in kernel/.' },
      { group: ['@rookery/gateway/*', '@rookery/agent/*'], message: 'Processes meet on the wire only.' },
    ],
  ),
  arrows(
    ['control/src/fleet/**'],
    [
      { group: ['**/accounts/**'], message: 'The subgraphs never import each other; use a port in kernel/.' },
      { group: ['@rookery/gateway/*', '@rookery/agent/*'], message: 'Processes meet on the wire only.' },
    ],
  ),
  {
    ...arrows(
      ['control/src/kernel/**', 'control/src/database/**'],
      [{ group: ['**/fleet/**', '**/accounts/**'], message: 'The kernel knows no subgraph.' }],
    ),
    // The event log is tried on rows that there really are.
    ignores: ['**/*.test.ts'],
  },
  arrows(
    ['control/src/**/*.schema.ts'],
    [{ group: ['@mikro-orm/*', '**/*.entity.ts'], allowTypeImports: true, message: 'A resolver calls a service.' }],
  ),
  {
    ...arrows(
      ['gateway/**'],
      [
        {
          group: ['@rookery/control/*', '@rookery/agent/*', '@mikro-orm/*'],
          message: 'The gateway has no database and knows subgraphs by their schema.',
        },
      ],
    ),
    // It is tried in front of the real thing.
    ignores: ['gateway/test/**', '**/*.test.ts'],
  },
  arrows(
    ['agent/**'],
    [{ group: ['@rookery/control/*', '@rookery/gateway/*'], message: 'Processes meet on the wire only.' }],
  ),
  arrows(
    ['wire/**'],
    [{ group: ['@rookery/control/*', '@rookery/gateway/*', '@rookery/agent/*'], message: 'wire is below everything.' }],
  ),
  {
    files: ['agent/src/**', 'wire/src/**'],
    ignores: ['**/*.test.ts', '**/*.fixture.ts'],
    rules: { 'no-restricted-properties': ['error', ...newerThanNode20] },
  },
);
