// Requests to begin with.

const claims = (members) => JSON.stringify({sub: 'nurse-1', ...members});
const request = (label, method, path, rest) => ({label, method, path, headers: '', claims: '', peer: '', ...rest});

export const EXAMPLES = [
  request('A nurse gives a controlled drug', 'POST', '/api/v1/medications/administer', {
    claims: claims({tenant_id: 'care-home-0042'}),
  }),
  request('A caller forges the header of the tenant', 'GET', '/api/v1/residents/r-1', {
    headers: 'x-tenant-id: care-home-0001',
    claims: claims({tenant_id: 'care-home-0042'}),
  }),
  request('A manager reaches for another home', 'GET', '/api/v1/tenants/care-home-0001/staff', {
    claims: claims({sub: 'manager-1', tenant_id: 'care-home-0042'}),
  }),
  request('The gateway names tenant and user', 'GET', '/api/v1/residents/r-1/notes', {
    headers: 'x-tenant-id: care-home-0042\nx-user-id: nurse-1',
    peer: 'spiffe://cluster.local/ns/core-healthcare/sa/api-gateway',
  }),
  request('The token has no tenant', 'GET', '/api/v1/residents/r-1', {claims: claims({})}),
];
