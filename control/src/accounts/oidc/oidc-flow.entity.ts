import { defineEntity, p } from '@mikro-orm/core';

/**
 * A sign-in at the identity provider that somebody has begun. What proves that the answer belongs to it
 * stays here: the browser only holds the name of the row, and each row answers once.
 */
export const OidcFlowSchema = defineEntity({
  name: 'OidcFlow',
  tableName: 'oidc_flows',
  properties: {
    /** Of the secret that names it. */
    secretHash: p.text().primary(),
    state: p.text(),
    nonce: p.text(),
    /** For PKCE: without it a code that was overheard is worth nothing. */
    codeVerifier: p.text(),
    /** Where the provider was told to send the person back. */
    redirectUri: p.text(),
    expiresAt: p.datetime().index(),
  },
});

export class OidcFlow extends OidcFlowSchema.class {}
OidcFlowSchema.setClass(OidcFlow);
