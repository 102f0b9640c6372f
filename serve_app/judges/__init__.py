"""Who says what each rule thinks: the policy engine, behind the bus's port `Judge`."""
