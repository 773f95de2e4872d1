import type { CodegenConfig } from '@graphql-codegen/cli';

/** Dates travel as text, and ids are text. An unknown scalar is an error. */
const scalars = {
  scalars: { DateTime: 'string', ID: 'string' },
  defaultScalarType: 'unknown',
  strictScalars: true,
};

/** The types of operations that are sent as text, for the processes. */
const operations = {
  plugins: ['typescript-operations'],
  config: { ...scalars, enumsAsTypes: true, useTypeImports: true, sort: true, immutableTypes: true },
};

/** Types every operation from the printed schema it is for. Run it (`npm run generate`) after either changes. */
const config: CodegenConfig = {
  generates: {
    'web/src/lib/gql/generated/': {
      schema: 'schema.graphql',
      documents: ['web/src/lib/**/*.operations.ts'],
      preset: 'client',
      presetConfig: {
        // Fragments here name the columns of a row, they do not hide data from the page that asked for it.
        fragmentMasking: false,
      },
      config: { ...scalars, enumsAsTypes: true, useTypeImports: true, sort: true, avoidOptionals: false },
    },
    'agent/src/channel/generated/control-operations.ts': {
      schema: 'control/agent-channel.graphql',
      documents: ['agent/src/channel/control.operations.ts'],
      ...operations,
    },
    'control/src/fleet/tunnels/generated/agent-operations.ts': {
      schema: 'agent/schema.graphql',
      documents: ['control/src/fleet/tunnels/agent.operations.ts'],
      ...operations,
    },
  },
};

export default config;
