# METADATA
# title: What the scans saw
# description: >-
#   The scans run before the policy and tell it where they saw personal data, secrets and attempts
#   to inject instructions. The policy never sees the text itself.
package acgs.findings

import data.acgs.tools
import data.acgs.verdict
import rego.v1

# METADATA
# title: Nobody carries a secret in a message
# custom:
#   code: policy.secret_found
#   effect: deny
#   remedy: "take the secret out, let it be replaced, and name where it is kept instead"
verdicts.secret := verdict.deny(
	"acgs.findings.secret", "policy.secret_found",
	"the content holds what looks like a secret",
	"take the secret out, let it be replaced, and name where it is kept instead",
) if {
	secret
}

# METADATA
# title: Nobody injects instructions
# custom:
#   code: policy.injection_found
#   effect: deny
#   remedy: "quote foreign text as data, without the instructions that it holds"
verdicts.injection := verdict.deny(
	"acgs.findings.injection", "policy.injection_found",
	"the content holds what looks like injected instructions",
	"quote foreign text as data, without the instructions that it holds",
) if {
	injection
}

# METADATA
# title: A person looks before personal data leaves the house
# custom:
#   code: policy.pii_leaves
#   effect: review
#   remedy: "take the personal data out, or wait for the review"
verdicts.pii_leaves := verdict.review(
	"acgs.findings.pii_leaves", "policy.pii_leaves",
	"the content holds personal data, and the tool takes it out of the house",
	"take the personal data out, or wait for the review",
) if {
	not releasable
	personal_data in {"review", "redact"}
}

# METADATA
# title: Some tools are never given personal data
# custom:
#   code: policy.pii_refused
#   effect: deny
#   remedy: "take the personal data out"
verdicts.pii_refused := verdict.deny(
	"acgs.findings.pii_refused", "policy.pii_refused",
	"the content holds personal data, which this tool is never given",
	"take the personal data out",
) if {
	count(exposed) > 0
	personal_data == "deny"
}

# METADATA
# title: A person looks before personal data goes to everybody
# custom:
#   code: policy.pii_broadcast
#   effect: review
#   remedy: "take the personal data out, address one agent, or wait for the review"
verdicts.pii_broadcast := verdict.review(
	"acgs.findings.pii_broadcast", "policy.pii_broadcast",
	"the content holds personal data, and the message goes to the whole tenant",
	"take the personal data out, address one agent, or wait for the review",
) if {
	told_to_all
}

# METADATA
# title: Personal data is redacted before it leaves the house
# description: For tools whose entry says `redact`; the paths are pointers into the content.
# custom:
#   type: redact
obligations.redact_pii := {
	"id": "acgs.findings.redact_pii",
	"type": "redact",
	"properties": {"kind": "pii", "paths": [path | some path in redactable]},
} if {
	count(redactable) > 0
	personal_data == "redact"
}

# METADATA
# title: Somebody hears of a secret
# custom:
#   type: notification
obligations.notify_secret := {
	"id": "acgs.findings.notify_secret",
	"type": "notification",
	"properties": {
		"to": "security",
		"topic": "policy.secret_found",
		"body": "an agent tried to send a secret; see the recorded decision",
	},
} if {
	secret
}

# METADATA
# title: Somebody hears of an injection
# custom:
#   type: notification
obligations.notify_injection := {
	"id": "acgs.findings.notify_injection",
	"type": "notification",
	"properties": {
		"to": "security",
		"topic": "policy.injection_found",
		"body": "an agent tried to pass on instructions; see the recorded decision",
	},
} if {
	injection
}

default told_to_all := false

told_to_all if {
	input.message.recipient == "*"
	personal
}

default secret := false

secret if {
	some finding in input.findings
	finding.kind == "secret"
}

default injection := false

injection if {
	some finding in input.findings
	finding.kind == "injection"
}

default personal := false

personal if {
	some finding in input.findings
	finding.kind == "pii"
}

# Where a tool says that personal data is the point, as the address of a mail is, none is exposed.
exposed contains finding.path if {
	personal
	tools.leaves
	some finding in input.findings
	finding.kind == "pii"
	not expected(finding)
}

# An overflow stands at the empty pointer, which is the whole content.
redactable := exposed - {""}

default expected(_) := false

expected(finding) if {
	field := concat("/", array.slice(split(finding.path, "/"), 0, 3))
	data.cfg.tools[input.message.tool].expects[field][finding.detector] == true
}

# May go out as it is, or once redacted. What the scan could not read, nobody can redact.
default releasable := false

releasable if count(exposed) == 0

releasable if personal_data == "allow"

releasable if {
	personal_data == "redact"
	not overflown
}

default overflown := false

overflown if {
	some finding in input.findings
	finding.kind == "pii"
	finding.detector == "overflow"
}

default personal_data := "review"

personal_data := data.cfg.tools[input.message.tool].pii if {
	data.cfg.tools[input.message.tool].pii in {"allow", "redact", "deny"}
}
