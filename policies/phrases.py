"""The phrases of prompt injection, as data: classes of words, and the orders they come in.

A phrase is a row of word classes with gaps: `discard <4 prior <4 rules` is a word of `discard`,
then, after at most four others, one of `prior`, then, after at most four, one of `rules`; without
a gap the words are neighbours. It is a pattern scan, not a judge of intent: it finds wordings that
are known, in English and the plainest of them in German, Spanish, French, Italian and Portuguese.

Each phrase holds a class of `ANCHORS`: a text with none of their words is not looked at further.
`STEMS` do the same for text in disguise, where all but letters and digits was dropped first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CLASSES: Final[Mapping[str, str]] = {
    "discard": "ignore ignores ignoring ignored disregard disregarding forget forgets forgetting"
    " neglect overlook unlearn ignoriere ignorieren ignorier vergiss vergessen vergesse missachte"
    " ignora ignorar ignoren olvida olvide olvidate olvidar ignorez oublie oubliez oublier"
    " dimentica ignorate dimenticate esqueca esquecer",
    "prior": "previous prior preceding above earlier foregoing past former existing original"
    " initial preceeding previously vorherigen vorherige vorigen obigen bisherigen anteriores"
    " previas anterior precedentes precedents precedenti vorangegangenen obige bisherige",
    "rules": "instruction instructions direction directions directive directives guideline"
    " guidelines rule rules prompt prompts command commands constraint constraints restriction"
    " restrictions programming training safeguards anweisung anweisungen instruktionen regeln"
    " befehle instrucciones reglas ordenes consignes istruzioni regole instrucoes regras",
    "work": "assignment assignments task tasks conversation conversations information statement"
    " statements text texts message messages input inputs content context data order orders"
    " angaben auftrag auftrage ausfuhrungen vorgaben"
    " request requests question questions aufgaben aufgabe informationen tareas taches",
    "all": "all any every everything anything alle alles allen todo todas todos tout toutes tutto"
    " tutte tudo",
    "their": "your the these those my all any its our system safety every",
    "said": "said told instructed mentioned before above previously earlier prior previous know"
    " knew learned learnt written talked discussed davor zuvor bisher gesagt gesagte wissen antes"
    " arriba avant dit",
    "forget": "forget vergiss vergessen olvida olvide oublie oubliez dimentica esquece",
    "everything": "everything alles todo tout tutto tudo",
    "uttered": "said told wrote asked instructed",
    "before": "before above earlier previously",
    "void": "void cancelled canceled overridden obsolete invalid superseded revoked suspended"
    " lifted disregarded ignored forgotten deactivated nullified",
    "reveal": "reveal leak show print display output repeat tell give share expose dump disclose"
    " divulge return write translate spell override overwrite recite state",
    "inner": "system initial original hidden secret internal developer starting preset pre",
    "prompt": "prompt prompts instructions instruction directives preprompt",
    "what": "what whats which",
    "your": "your thy ur deine deinen dein ihre ihren tus vos tes",
    "change": "change replace rewrite reset modify rewire",
    "repeat": "repeat print output recite echo copy summarize",
    "words": "words text everything all message messages content sentences lines instructions",
    "above": "above",
    "jailbreak": "jailbreak jailbroken jailbreaking jailbreaks",
    "do": "do",
    "anything": "anything",
    "now": "now henceforth",
    "you": "you u",
    "are": "are re will must shall were become",
    "from": "from",
    "on": "on onwards forward",
    "pretend": "pretend pretending roleplay roleplaying",
    "to": "to",
    "be": "be",
    "want": "want would need",
    "act": "act acting behave respond answer",
    "as": "as like",
    "if": "if though",
    "free": "unrestricted uncensored unfiltered amoral unethical jailbroken evil",
    "assistant": "ai assistant model chatbot bot llm mode persona version machine",
    "adopt": "adopt assume take takes",
    "persona": "persona personality identity role roles character characters",
    "of": "of",
    "stay": "stay remain keep",
    "jetzt": "jetzt nun",
    "bist": "bist",
    "du": "du",
    "in": "in",
    "longer": "longer",
    "bound": "bound restricted limited constrained confined governed",
    "note": "note",
    "self": "self",
    "new": "new updated revised real actual true neue neuen nouvelle nouvelles nueva nuevas",
    "directive": "directive directives instruction instructions anweisung anweisungen",
    "goal": "task tasks goal objective mission purpose directive instruction instructions job"
    " aufgabe aufgaben anweisung anweisungen tache mision tarea",
    "actually": "actually instead now",
    "this": "this that following",
    "instead": "instead",
    "bypass": "bypass bypassing circumvent evade disable deactivate override overrule ignore"
    " disregard remove violate break",
    "guard": "safety content ethical ethics moral openai moderation usage alignment censorship",
    "rail": "filter filters guidelines guideline guardrails guardrail safeguard safeguards"
    " restrictions rules policy policies protocols constraints limitations programming",
    "norm": "rules restrictions guidelines guardrails safeguards",
    "developer": "developer dan god sudo jailbreak unrestricted opposite dev",
    "mode": "mode",
    "not": "not never dont don without no",
    "tell": "tell telling inform informing mention mentioning alert alerting notify notifying",
    "user": "user users human operator",
}

PHRASES: Final[Mapping[str, tuple[str, ...]]] = {
    "discard_instructions": (
        "discard <4 prior <4 rules",
        "discard <2 their <2 rules",
        "discard <2 all <2 prior",
        "discard <2 all <2 rules",
        "discard <2 all <3 work",
        "discard <1 all <6 said",
        "discard <2 above",
        "discard <3 uttered <2 before",
        "forget <1 everything",
        "change <1 your <1 prompt",
        "discard <3 prior <1 work",
        "prior <2 rules <4 void",
    ),
    "system_prompt": (
        "reveal <4 inner <1 prompt",
        "reveal <3 your <2 prompt",
        "what <2 your prompt",
        "what <3 inner <1 prompt",
        "repeat <2 words <1 above",
    ),
    "jailbreak": ("jailbreak", "do anything now"),
    "persona": (
        "from now on <3 you",
        "you are now <2 as",
        "you are now <3 free",
        "you are now <3 assistant",
        "pretend <1 you",
        "want you to act as",
        "jetzt bist du",
        "pretend to be",
        "act as if <1 you",
        "act as <3 free",
        "free <2 assistant",
        "adopt <3 persona of",
        "stay in <1 persona",
        "you <3 longer <1 bound",
    ),
    "note_to_self": ("note to self",),
    "new_directive": (
        "new directive",
        "your <1 new <1 goal",
        "actually do this instead",
        "do this instead",
    ),
    "bypass_safeguards": ("bypass <2 guard <2 rail", "bypass norm", "bypass their norm"),
    "developer_mode": ("developer mode",),
    "conceal": ("not <2 tell <2 user",),
}

ANCHORS: Final = (
    "discard forget change jetzt void prompt above jailbreak anything now pretend act free persona"
    " bound self directive goal instead rail norm mode tell"
)

STEMS: Final = (
    "ignor disregard forget overlook unlearn missacht vergiss vergess olvid oubli dimentica esquec"
    " instruc prompt jailbr anythingnow fromnowon youarenow pretend roleplay persona"
    " directive bypass circumvent overrid unrestricted uncensored developermode notetoself"
)

# Marks by which chat templates and their imitations begin another speaker's turn, in lower case,
# by the character they begin with.
TAGS: Final[Mapping[str, str]] = {
    "[": r"\s{0,3}/?\s{0,3}(?:inst|sys|system)\s{0,3}\]",
    "<": r"<\s{0,3}/?\s{0,3}sys\s{0,3}>>"
    r"|\|\s{0,3}[a-z][a-z_]{2,31}\s{0,3}\|>"
    r"|/?\s{0,3}(?:sys|inst|start_of_turn|end_of_turn)\s{0,3}>"
    r"|/?\s{0,3}system(?:[ _-](?:prompt|message|instructions?))?\s{0,3}>",
    "#": r"#{1,5}\s{0,3}(?:system|new|end)(?: (?:prompt|message|instructions?))?\s{0,3}:",
}
