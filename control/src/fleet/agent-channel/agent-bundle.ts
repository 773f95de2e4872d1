import { stat } from 'node:fs/promises';

/** The agent as one file, which joining machines download; built by `npm run build`. */
export const AGENT_BUNDLE = new URL('../../../../agent/dist/rookery-agent.mjs', import.meta.url);

/** Whether this control process has an agent to hand out. */
export const isAgentBuilt = (): Promise<boolean> =>
  stat(AGENT_BUNDLE).then(
    (file) => file.isFile(),
    () => false,
  );
