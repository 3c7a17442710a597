"""The five topics; a service alone writes its own."""

INTERACTIONS = "lazo.interactions"
CLASSIFICATIONS = "lazo.classifications"
FINDINGS = "lazo.findings"
FEEDBACK = "lazo.feedback"
RULEBOOK = "lazo.rulebook"

ALL = (INTERACTIONS, CLASSIFICATIONS, FINDINGS, FEEDBACK, RULEBOOK)

OWNER = {
    INTERACTIONS: "intake",
    CLASSIFICATIONS: "classification",
    FINDINGS: "classification",
    RULEBOOK: "classification",
    FEEDBACK: "feedback",
}
