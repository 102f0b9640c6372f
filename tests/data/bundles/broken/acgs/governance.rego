# A policy that is not Rego. constitutional hash: cdd01ef066bc6cf2
package acgs.governance

decision := {"allow": true
