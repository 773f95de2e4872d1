import { silentLogger } from '@rookery/wire/log.ts';
import { readAgentConfig } from '../config.ts';
import { createStateDir } from '../state-dir/state-dir.ts';
import { OciRuntimeFinder } from './runtime-finder.ts';
import type { ExecRequest } from './runtime.ts';

/** Run by the fixture as a process that can be killed: one command in one sandbox, its output passed on. */
const [root = '', id = '', request = '{}'] = process.argv.slice(2);
const finder = new OciRuntimeFinder(readAgentConfig({}, root), await createStateDir(root), silentLogger());
const { runtime } = await finder.find();
if (!runtime) throw new Error('there is no runtime');
for await (const event of runtime.exec(id, JSON.parse(request) as ExecRequest)) {
  process.stdout.write(event.kind === 'EXIT' ? 'exit\n' : event.data);
}
