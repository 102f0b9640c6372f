"""Who is registered, and who says so."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from contract.mailbox_office import an_office, refusal

from actors.mailbox.mailbox import Profile, Terms

if TYPE_CHECKING:
    from contract.conftest import Valkey


def test_putting_an_agent_creates_it_then_updates_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey) as office:
            start = office.clock.now()
            profile = Profile(agent_type="planner", capabilities=["plan"], roles=["executive"])
            first, created = await office.mailboxes.register(office.tenant, "ada", profile)
            assert created
            assert first.registered_at == first.last_seen == start
            office.clock.forward(5)
            other = Profile(metadata={"team": {"name": "blue"}})
            second, created = await office.mailboxes.register(office.tenant, "ada", other)
            assert not created
            assert second.profile == other
            assert second.registered_at == start
            assert second.last_seen == start + timedelta(seconds=5)
            found = await office.mailboxes.agent(office.tenant, "ada")
            assert found.profile.metadata == {"team": {"name": "blue"}}
            assert (found.registered_at, found.last_seen) == (start, second.last_seen)

    asyncio.run(scenario())


def test_a_heartbeat_says_when_an_agent_was_last_seen(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "ada") as office:
            office.clock.forward(60)
            seen = await office.mailboxes.heartbeat(office.tenant, "ada")
            assert seen == office.clock.now()
            assert (await office.mailboxes.agent(office.tenant, "ada")).last_seen == seen
            heartbeat = office.mailboxes.heartbeat(office.tenant, "nobody")
            assert await refusal(heartbeat) == ("agent.unknown", 404)
            nobody = office.mailboxes.agent(office.tenant, "nobody")
            assert await refusal(nobody) == ("agent.unknown", 404)

    asyncio.run(scenario())


def test_agents_are_listed_by_id_page_after_page(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "cyd", "ada", "bob") as office:
            page = await office.mailboxes.agents(office.tenant, limit=2)
            assert [one.agent for one in page] == ["ada", "bob"]
            page = await office.mailboxes.agents(office.tenant, after="bob", limit=2)
            assert [one.agent for one in page] == ["cyd"]
            assert await office.mailboxes.agents(office.tenant, after="cyd") == []

    asyncio.run(scenario())


def test_a_tenant_has_room_for_so_many_agents(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "ada", "bob", terms=Terms(agents_max=2)) as office:
            third = office.mailboxes.register(office.tenant, "cyd", Profile())
            assert await refusal(third) == ("agent.too_many", 409)
            await office.join("ada")  # an update takes no room
            await office.mailboxes.unregister(office.tenant, "bob")
            await office.join("cyd")

    asyncio.run(scenario())


def test_a_registered_agent_is_believed_for_a_second_an_unknown_one_never(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with (
            an_office(valkey) as here,
            an_office(valkey, tenant=here.tenant) as elsewhere,
        ):
            assert not await here.mailboxes.knows(here.tenant, "ada")
            await elsewhere.join("ada")
            assert await here.mailboxes.knows(here.tenant, "ada")
            await elsewhere.mailboxes.unregister(here.tenant, "ada")
            assert await here.mailboxes.knows(here.tenant, "ada")
            here.clock.forward(1)
            assert not await here.mailboxes.knows(here.tenant, "ada")
            await here.join("ada")
            assert await here.mailboxes.knows(here.tenant, "ada")
            await here.mailboxes.unregister(here.tenant, "ada")
            assert not await here.mailboxes.knows(here.tenant, "ada")

    asyncio.run(scenario())


def test_roles_in_a_registration_describe_and_grant_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.mailboxes.register(
                office.tenant, "ada", Profile(roles=["platform_admin", "auditor"])
            )
            await office.send(1)
            assert await office.read("ada") == []
            assert await office.read("mailer") == ["d1"]

    asyncio.run(scenario())
