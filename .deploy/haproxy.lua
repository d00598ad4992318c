-- The question of haproxy.cfg: XTeam's answer is the client's, unless it is 200.

local url = "http://127.0.0.1:8000/api/v1/auth/verify"

-- What XTeam judges by, and what it tells its journal; nothing else of the client's is sent.
local sent = {"authorization", "x-api-key", "cookie", "origin", "sec-fetch-site", "sec-fetch-mode", "user-agent", "x-request-id", "host", "x-forwarded-for", "x-forwarded-proto"}

-- HAProxy frames the answer itself.
local framing = {["connection"] = true, ["keep-alive"] = true, ["content-length"] = true, ["transfer-encoding"] = true}

local function list(values)
	local all = {}
	for i = 0, #values do
		table.insert(all, values[i])
	end
	return all
end

core.register_action("xteam", {"http-req"}, function(txn)
	local had, headers = txn.http:req_get_headers(), {}
	for _, name in ipairs(sent) do
		if had[name] then
			headers[name] = list(had[name])
		end
	end
	headers["x-forwarded-method"] = {txn.f:method()}
	headers["x-forwarded-uri"] = {txn.f:url()}
	local demands = txn:get_var("txn.demands")
	local answer = core.httpclient():get{url = demands and url .. "," .. demands or url, headers = headers, timeout = 5000}
	if answer and answer.status == 200 then
		for _, name in ipairs{"user", "session", "scope", "roles"} do
			local value = answer.headers["x-auth-" .. name]
			txn:set_var("txn.xteam_" .. name, value and value[0] or "")
		end
		return
	end
	local reply = txn:reply{status = 503}
	if answer and answer.status >= 400 then
		reply:set_status(answer.status)
		for name, values in pairs(answer.headers) do
			if not framing[name] then
				for _, value in ipairs(list(values)) do
					reply:add_header(name, value)
				end
			end
		end
		reply:set_body(answer.body or "")
	else
		reply:add_header("retry-after", "1")
	end
	txn:done(reply)
end, 0)
