"""What people, timers and the monitor may ask of a finding, and the words in which they are refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from libs.events.catalogue.findings import CauseNode, Nature
from services.classification.domain.effect import Effect


@dataclass(frozen=True, slots=True)
class Confirm:
    """It is so. A nature given with it corrects the one that was inferred."""

    by: str
    reason: str | None = None
    nature: Nature | None = None


@dataclass(frozen=True, slots=True)
class Correct:
    """It is so, and of another nature than was said before."""

    by: str
    nature: Nature
    reason: str | None


@dataclass(frozen=True, slots=True)
class Dismiss:
    by: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Assign:
    by: str
    owner: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Investigate:
    """Why it happens: a whole tree, which replaces the one before."""

    by: str
    method: str
    nodes: tuple[CauseNode, ...]
    conclusion: str | None = None
    nature: Nature | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PlanAction:
    by: str
    description: str
    owner: str
    due: date
    expected_ratio: float
    window_days: int
    reason: str | None = None
    metric: str = "complainants"
    slice: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CancelAction:
    by: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class ImplementAction:
    by: str
    implemented_at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """The window after the action has passed; `effect` is what was seen."""

    action_id: str
    effect: Effect
    by: str = "monitor"
    metric: str | None = None


@dataclass(frozen=True, slots=True)
class Close:
    by: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Reopen:
    """It was not over, or was wrongly dismissed."""

    by: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Withdraw:
    """What it was opened on holds no longer: a figure or a fact was corrected. Only what nobody has taken up is closed by it."""

    by: str = "monitor"


@dataclass(frozen=True, slots=True)
class Restore:
    """What was taken back holds again."""

    by: str = "monitor"


@dataclass(frozen=True, slots=True)
class Propose:
    """A norm, policy or procedure should change."""

    by: str
    subject: str
    code: str
    text: str
    owner: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SettleProposal:
    by: str
    proposal_id: str
    outcome: str
    rulebook_version: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Escalate:
    """The rules say that a level should know."""

    level: str
    because: Mapping[str, float]
    by: str = "rules"


@dataclass(frozen=True, slots=True)
class Group:
    """Put it under another finding (None: take it out). `leads`: others stand under it; `nested`: the other is a member itself."""

    by: str
    into: str | None
    reason: str | None = None
    leads: bool = False
    nested: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """Make findings of narrower slices."""

    by: str
    parts: tuple[Mapping[str, str], ...]
    reason: str | None = None


Command = (
    Confirm
    | Correct
    | Dismiss
    | Assign
    | Investigate
    | PlanAction
    | CancelAction
    | ImplementAction
    | Judge
    | Close
    | Reopen
    | Withdraw
    | Restore
    | Propose
    | SettleProposal
    | Escalate
    | Group
    | Split
)

REFUSALS: dict[str, tuple[str, str]] = {
    "unknown_finding": ("ese hallazgo no existe", "there is no such finding"),
    "not_now": ("no se puede: el hallazgo está en «{status}»", "not possible: the finding is '{status}'"),
    "reason_needed": ("diga por qué", "say why"),
    "confirmed_otherwise": (
        "{by} ya lo confirmó con otra naturaleza ({nature}); si no es así, corríjala y diga por qué",
        "{by} has confirmed it already, as of another nature ({nature}); if that is wrong, correct it and say why",
    ),
    "ratio_out_of_range": (
        "la razón esperada es mayor que 0 y menor que 1 (0.5: la mitad que antes)",
        "the expected ratio is above 0 and below 1 (0.5: half of before)",
    ),
    "window_out_of_range": ("la ventana es de 7 a 365 días", "the window is 7 to 365 days"),
    "unknown_metric": (
        "la medida es complainants, contacts o rate",
        "the metric is complainants, contacts or rate",
    ),
    "slice_elsewhere": (
        "el éxito se mide donde está el problema: el corte tiene que incluir {slice}",
        "success is measured where the problem is: the slice has to include {slice}",
    ),
    "due_in_the_past": ("la fecha límite ya pasó", "the due date has passed"),
    "in_the_future": ("la fecha está por venir", "the time lies ahead"),
    "test_after_the_fact": (
        "la acción se hizo antes de declarar cómo se mediría ({planned_at})",
        "the action was done before its success test was declared ({planned_at})",
    ),
    "already_implemented": (
        "la acción ya se hizo ({implemented_at}): cómo se mide quedó declarado antes y no se cambia",
        "the action is done already ({implemented_at}): how it is measured was declared before and stays",
    ),
    "action_in_hand": ("ya hay una acción en curso", "an action is in hand already"),
    "no_action": ("no hay ninguna acción planeada", "no action is planned"),
    "unknown_method": ("el método es five_whys o ishikawa", "the method is five_whys or ishikawa"),
    "tree_empty": ("el árbol de causas está vacío", "the tree of causes is empty"),
    "tree_too_large": ("el árbol tiene más de {most} causas", "the tree has more than {most} causes"),
    "tree_twice": ("la causa «{node}» está dos veces", "the cause '{node}' stands twice"),
    "tree_parent": (
        "«{node}» cuelga de «{parent}», que no existe",
        "'{node}' hangs from '{parent}', which is not there",
    ),
    "tree_cycle": ("«{node}» se explica por sí misma", "'{node}' explains itself"),
    "tree_component": (
        "«{node}»: el componente es product, procedures, facilities, systems, information o people",
        "'{node}': the component is product, procedures, facilities, systems, information or people",
    ),
    "tree_branch": (
        "en un Ishikawa cada rama principal es de un componente; «{node}» no dice cuál",
        "in an Ishikawa diagram each main branch belongs to a component; '{node}' does not say which",
    ),
    "unknown_code": ("«{code_}» no está en el libro de reglas", "'{code_}' is not in the rulebook"),
    "unknown_subject": ("se propone cambiar norm, policy o procedure", "a proposal is about norm, policy or procedure"),
    "unknown_proposal": ("esa propuesta no existe", "there is no such proposal"),
    "unknown_outcome": (
        "el resultado es accepted, rejected, withdrawn o enacted",
        "the outcome is accepted, rejected, withdrawn or enacted",
    ),
    "proposal_settled": ("la propuesta ya está en «{state}»", "the proposal is '{state}' already"),
    "group_itself": ("un hallazgo no es parte de sí mismo", "a finding is no part of itself"),
    "group_nested": (
        "los grupos son de un solo nivel: uno de los dos ya es parte de otro o tiene partes",
        "groups have one level: one of the two is a part of another already, or has parts",
    ),
    "group_over": ("ese hallazgo ya terminó", "that finding is over"),
    "part_not_narrower": (
        "cada parte conserva {slice} y añade al menos una dimensión",
        "each part keeps {slice} and adds at least one dimension",
    ),
    "part_unknown_dimension": ("no se puede partir por «{dimension}»", "it cannot be split by '{dimension}'"),
    "part_twice": ("esa parte ya existe", "that part is there already"),
}


@dataclass
class Refused(Exception):
    """The command cannot be carried out. `invalid`: it never could; else not in this state."""

    code: str
    pointer: str = ""
    invalid: bool = False
    values: Mapping[str, str] = field(default_factory=dict)

    def text(self, language: str) -> str:
        es, en = REFUSALS[self.code]
        return (es if language == "es" else en).format(**self.values)
