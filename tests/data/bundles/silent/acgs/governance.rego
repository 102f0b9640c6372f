# A policy that never decides. constitutional hash: cdd01ef066bc6cf2
package acgs.governance

import rego.v1

opinion := true
