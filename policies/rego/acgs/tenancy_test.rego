package acgs.tenancy_test

import data.acgs.fixtures
import data.acgs.tenancy
import rego.v1

test_message_tenant_speaks_about_another_tenant if {
	tenancy.verdicts.message_tenant.code == "policy.tenant_mismatch" with input as fixtures.but({"/message/tenant": "globex"})
}

test_message_tenant_is_silent_about_its_own if {
	not tenancy.verdicts.message_tenant with input as fixtures.asked
}

test_sender_speaks_about_another_agent if {
	tenancy.verdicts.sender.code == "policy.sender_mismatch" with input as fixtures.but({"/message/sender": "boss"})
}

test_sender_is_silent_about_the_token_s_agent if {
	not tenancy.verdicts.sender with input as fixtures.asked
}

test_recipient_speaks_about_one_in_another_tenant if {
	tenancy.verdicts.recipient.code == "policy.recipient_tenant_mismatch" with input as fixtures.but({"/message/recipient_tenant": "globex"})
}

test_recipient_speaks_about_a_tenant_that_is_null if {
	tenancy.verdicts.recipient with input as fixtures.but({"/message/recipient_tenant": null})
}

test_recipient_is_silent_about_one_in_the_same_tenant if {
	not tenancy.verdicts.recipient with input as fixtures.but({"/message/recipient_tenant": "acme"})
}

test_recipient_is_silent_when_looked_up_in_the_message_s_tenant if {
	not tenancy.verdicts.recipient with input as fixtures.asked
}
