import { readConfig } from '@rookery/wire/config.ts';
import { StartupError } from '@rookery/wire/errors.ts';
import { createLogger } from '@rookery/wire/log.ts';
import { aborted, runMain, stopSignal } from '@rookery/wire/main.ts';
import { createGateway } from './app.ts';
import { gatewayConfigSchema } from './config.ts';
import { networkTransport } from './transports/network.transport.ts';

/** A gateway process of its own (split mode): the subgraphs are reached over the network. */
await runMain(async () => {
  const stopped = stopSignal();
  const config = readConfig(gatewayConfigSchema, process.env);
  const log = createLogger('gateway', config.ROOKERY_LOG_LEVEL);
  if (!config.ROOKERY_GATEWAY_SECRET)
    throw new StartupError('ROOKERY_GATEWAY_SECRET is not set; control and gateways need the same one.');
  const transport = networkTransport(config.ROOKERY_CONTROL_URL, config.ROOKERY_GATEWAY_SECRET);
  await using gateway = await createGateway({ config, transport, log });
  log.info({ url: gateway.url }, 'gateway is ready');
  await aborted(stopped);
  log.info('gateway stops');
});
