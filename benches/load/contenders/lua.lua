-- What careplane does to a request, in Lua: identity, context, placement, and a record.
-- With evidence.lua before it, the user is a pseudonym, and the record is hashed and chained.

local JWT = "envoy.filters.http.jwt_authn"
local NAMESPACE = "careplane"
local POOLS = {"pool-a", "pool-b", "pool-c"}
local PINNED = {["care-home-0042"] = "dedicated-a"}

local ACTIONS = {POST = "create", PUT = "update", PATCH = "update", DELETE = "delete"}

-- The first that matches is it.
local CONTEXTS = {
  {"^/api/v1/medications/administer$", "medication-administration", "critical", "MedicationAdministration"},
  {"^/api/v1/medications", "medication", "high", "MedicationRequest"},
  {"^/api/v1/residents/[^/]+", "resident", "high", "Patient"},
  {"^/api/v1/residents$", "resident-search", "high", "Patient"},
  {"^/api/v1/care%-plans", "care-plan", "high", "CarePlan"},
  {"^/api/v1/assessments", "assessment", "standard", "QuestionnaireResponse"},
  {"^/health$", "health-check", "low", nil},
}

local function classify(path)
  for _, context in ipairs(CONTEXTS) do
    if path:find(context[1]) then
      return context
    end
  end
  return {"", "general", "standard", nil}
end

local function pool(tenant)
  local sum = 0
  for index = 1, #tenant do
    sum = (sum * 31 + tenant:byte(index)) % 65536
  end
  return PINNED[tenant] or POOLS[sum % #POOLS + 1]
end

local function quoted(text)
  return '"' .. tostring(text):gsub('[%c"\\]', function(char) return string.format("\\u%04x", char:byte()) end) .. '"'
end

-- RFC 3339, UTC, microseconds.
local function instant(handle)
  local micros = handle:timestampString(EnvoyTimestampResolution.MICROSECOND)
  return os.date("!%Y-%m-%dT%H:%M:%S", tonumber(micros:sub(1, -7))) .. "." .. micros:sub(-6) .. "Z"
end

local function refuse(handle, reason)
  local headers = {[":status"] = "403", ["content-type"] = "application/problem+json"}
  handle:respond(headers, '{"type":"urn:problem-type:careplane:' .. reason .. '"}')
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local metadata = handle:streamInfo():dynamicMetadata()
  local claims = (metadata:get(JWT) or {}).payload or {}
  local path = headers:get(":path"):match("^[^?]*")
  local context = classify(path)

  local claimed = headers:get("x-tenant-id")
  local tenant, user = claims.tenant_id, claims.sub
  if tenant == nil then
    return refuse(handle, "tenant-missing")
  end
  if claimed ~= nil and claimed ~= tenant then
    return refuse(handle, "tenant-conflict")
  end
  local correlation = headers:get("x-correlation-id") or headers:get("x-request-id")
  local place = pool(tenant)

  headers:replace("x-tenant-id", tenant)
  headers:replace("x-user-id", user)
  headers:replace("x-correlation-id", correlation)
  headers:replace("x-healthcare-context", context[2])
  headers:replace("x-compliance-level", context[3])
  headers:replace("x-tenant-pool", place)
  headers:replace("x-release-cohort", "stable")

  local method, id = headers:get(":method"), headers:get("x-request-id")
  if evidence then
    user = evidence.pseudonym(user)
  end
  metadata:set(NAMESPACE, "tenant_id", tenant)
  metadata:set(NAMESPACE, "user_id", user)
  metadata:set(NAMESPACE, "correlation_id", correlation)
  metadata:set(NAMESPACE, "healthcare_context", context[2])
  metadata:set(NAMESPACE, "compliance_level", context[3])
  local about = table.concat({
    '"context":{"action":"', ACTIONS[method] or "read", '","complianceLevel":"', context[3], '","name":"', context[2],
    '","resource":', quoted(context[4] or ""), "}",
  })
  local request = table.concat({
    '"request":{"correlationId":', quoted(correlation), ',"id":', quoted(id), ',"method":', quoted(method), "}",
  })
  local whose = table.concat({
    '"tenant":{"cohort":"stable","id":', quoted(tenant), ',"pool":"', place, '","source":"claim"}',
  })
  local when = table.concat({'"time":"', instant(handle), '"'})
  local who = table.concat({'"who":{"user":', quoted(user), "}"})
  metadata:set(NAMESPACE, "begin", about .. ',"decision":{"result":"allowed"}')
  metadata:set(NAMESPACE, "rest", table.concat({request, '"schema":"careplane.audit/v1"', whose, when, who}, ","))
end

function envoy_on_response(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  local decided = metadata:get(NAMESPACE)
  if decided == nil then
    return
  end
  local headers = handle:headers()
  headers:replace("x-correlation-id", decided.correlation_id)
  local status = headers:get(":status")
  if evidence then
    metadata:set(NAMESPACE, "record", evidence.record(decided.begin, status, decided.rest))
  else
    metadata:set(NAMESPACE, "record", table.concat({
      "{", decided.begin, ',"kind":"request","outcome":{"status":', status, "},", decided.rest, "}",
    }))
  end
end
