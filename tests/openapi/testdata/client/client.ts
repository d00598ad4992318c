// A client that knows the description alone. It says what happened as one line of JSON.
import createClient from 'openapi-fetch'
import type {components, paths} from './xteam.js'

declare const process: {argv: string[]}

const [baseUrl, password] = process.argv.slice(2) as [string, string]
const xteam = createClient<paths>({baseUrl})

async function signIn(email: string): Promise<{Authorization: string}> {
  const {data, error} = await xteam.POST('/api/v1/auth/login', {body: {email, password}})
  if (error) throw new Error(`${email} cannot sign in: ${error.code}`)
  return {Authorization: `Bearer ${data.access_token}`}
}

const ann = await signIn('ann@example.com')
const root = await signIn('root@example.com')
const me = await xteam.GET('/api/v1/users/me', {headers: ann})
const user: components['schemas']['User'] | undefined = me.data
const users = await xteam.GET('/api/v1/admin/users', {headers: root, params: {query: {limit: 1}}})
const more = await xteam.GET('/api/v1/admin/users', {headers: root, params: {query: {limit: 1, cursor: users.data?.next ?? ''}}})
const forbidden = await xteam.GET('/api/v1/admin/users', {headers: ann})
const verify = await xteam.GET('/api/v1/auth/verify', {headers: ann})
const key = await xteam.POST('/api/v1/api-keys', {headers: ann, body: {name: 'client', scopes: ['users:read']}})
const byKey = await xteam.GET('/api/v1/users/me', {headers: {'X-API-Key': key.data?.key ?? ''}})
const dry = await xteam.POST('/api/v1/admin/revocations', {headers: root, body: {user_id: 'ann', dry_run: true}})
const revoked = await xteam.POST('/api/v1/admin/revocations', {headers: root, body: {user_id: 'ann', reason: 'a test'}})
const after = await xteam.GET('/api/v1/users/me', {headers: ann})
const code: 'token_revoked' | string | undefined = after.error?.code
const wrong = await xteam.POST('/api/v1/auth/register', {body: {email: 'x', username: 'bea', password}})

// What the description forbids, the compiler does too.
// @ts-expect-error the password is missing
await xteam.POST('/api/v1/auth/login', {body: {email: 'ann@example.com'}})
// @ts-expect-error there is no such role
const role: components['schemas']['User']['role'] = 'owner'
// @ts-expect-error there is no such route
await xteam.GET('/api/v1/nothing')

console.log(JSON.stringify({
  email: user?.email, role, first: users.data?.items[0]?.username, second: more.data?.items[0]?.username, forbidden: forbidden.error?.code,
  verified: verify.response.headers.get('X-Auth-User') === user?.id, byKey: byKey.data?.username, dry: dry.data?.sessions_ended, ended: revoked.data?.sessions_ended,
  status: after.response.status, code, reason: after.error?.reason, wrong: wrong.error?.code, fields: wrong.error?.errors?.map(e => e.field),
}))
