# METADATA
# title: Inputs for tests
package acgs.fixtures

import rego.v1

# METADATA
# title: An agent of acme asks its mailer to send a mail
asked := {
	"principal": {"tenant": "acme", "agent": "writer", "roles": ["agent"], "scopes": ["messages:send"]},
	"message": {
		"tenant": "acme",
		"sender": "writer",
		"recipient": "mailer",
		"type": "command",
		"priority": 1,
		"constitutional_hash": "cdd01ef066bc6cf2",
		"action": "email.send",
		"tool": "email.send",
		"resource": "",
		"args": {"to": "ann@example.com", "subject": "minutes"},
		"args_digest": "sha256:00",
		"content_digest": "sha256:00",
		"content_size": 120,
		"metadata": {},
	},
	"findings": [],
	"target": null,
}

# METADATA
# title: The same with other values at these pointers
but(changes) := json.patch(asked, [{"op": "add", "path": path, "value": value} | some path, value in changes])

# METADATA
# title: The same without what these pointers name
without(paths) := json.patch(asked, [{"op": "remove", "path": path} | some path in paths])

# METADATA
# title: The mail in words only, a call of no tool
said(type) := but({"/message/type": type, "/message/action": "", "/message/tool": "", "/message/args": {}})

# METADATA
# title: A call of this tool
calls(tool, args) := but({"/message/action": tool, "/message/tool": tool, "/message/args": args})

# METADATA
# title: A judicial agent validates an output of these roles
validates(target) := json.patch(said("constitutional_validation"), [
	{"op": "add", "path": "/principal/roles", "value": ["judicial"]},
	{"op": "add", "path": "/target", "value": target},
])

finding(kind, path) := {"kind": kind, "detector": "any", "path": path, "start": 0, "end": 4}

email(path) := {"kind": "pii", "detector": "email", "path": path, "start": 0, "end": 4}
