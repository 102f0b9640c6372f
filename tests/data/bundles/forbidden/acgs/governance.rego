# A policy that asks the network. constitutional hash: cdd01ef066bc6cf2
package acgs.governance

import rego.v1

decision := {"allow": true, "verdicts": [], "obligations": []} if {
	http.send({"method": "GET", "url": "http://127.0.0.1:1/"}).status_code == 200
}
