// A certified OpenID provider on loopback. Whoever's name is typed is signed in: "ann" has the groups that
// GROUPS (JSON in the environment) says. Ends with its standard input.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const groups = JSON.parse(process.env.GROUPS ?? '{}');
const server = createServer();
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const answer = 'http://127.0.0.1:8765/sign-in/openid/answer';
  const client = { redirect_uris: [answer], grant_types: ['authorization_code'], response_types: ['code'] };
  const provider = new Provider(issuer, {
    clients: [
      { ...client, client_id: 'adapter', token_endpoint_auth_method: 'none' },
      { ...client, client_id: 'secretive', client_secret: 'a secret: with / signs & 32 letters' },
    ],
    conformIdTokenClaims: false,
    claims: { openid: ['sub'], profile: ['name', 'preferred_username'], groups: ['groups'] },
    findAccount: (_context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: `${id} of the hospital`, groups: groups[id] ?? [] }),
    }),
    // nobody is asked to consent: the hospital has
    loadExistingGrant: async (context) => {
      const { oidc } = context;
      const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope('openid profile groups');
      await grant.save();
      return grant;
    },
  });
  server.on('request', provider.callback());
  console.log(`READY ${issuer}`);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
