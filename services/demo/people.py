"""The operator's customers: invented people with a way to be reached and a temper. Pure and seeded."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

_FIRST = {
    "es": "Ana Luis Marta Jorge Camila Andrés Paola Julián Rosa Diego Valentina Óscar Lucía Hernán Daniela Iván Teresa Mateo "
    "Pilar Fabián Gloria Ramiro Inés Tomás Beatriz Emilio Sara Wilson Yolanda Nicolás".split(),
    "en": "Emma Jack Grace Oliver Ruth Samuel Nora Peter Alice Henry Clara Simon Joan Victor Helen Martin".split(),
}
_LAST = {
    "es": "Gómez Rojas Pardo Mejía Salcedo Quintero Duarte Bernal Cárdenas Ospina Lozano Prieto Acosta Fuentes Medina Zapata "
    "Vargas Niño Pineda Herrera Montoya Roldán Useche Cano".split(),
    "en": "Barnes Cooper Dalton Ellis Foster Graham Hughes Irwin Keller Lawson Morris Norton Palmer Quinn Reeves Turner".split(),
}
SEGMENTS = (("residential", 0.78), ("small_business", 0.17), ("corporate", 0.05))


@dataclass(frozen=True, slots=True)
class Person:
    """One customer; `temper` 0 (calm) to 1 (angry) weighs on how often they write and how they answer."""

    number: int
    name: str
    language: str
    email: str | None
    phone: str | None
    segment: str
    location: str
    temper: float

    def as_customer(self) -> dict[str, str]:
        """The `customer` member of an interaction."""
        person = {"id": f"C{self.number:06d}", "name": self.name, "segment": self.segment}
        person["locale"] = "es-CO" if self.language == "es" else "en-US"
        if self.email:
            person["email"] = self.email
        if self.phone:
            person["phone"] = self.phone
        return person


def population(random: Random, size: int, locations: Sequence[tuple[str, float]]) -> list[Person]:
    """`size` invented customers; about one in eight writes in English."""
    people = []
    names, weights = zip(*locations, strict=True)
    for number in range(1, size + 1):
        language = "en" if random.random() < 0.12 else "es"
        first, last = random.choice(_FIRST[language]), random.choice(_LAST[language])
        mail = f"{first}.{last}.{number}@example.com".lower().translate(str.maketrans("áéíóúñ", "aeioun"))
        people.append(
            Person(
                number=number,
                name=f"{first} {last}",
                language=language,
                email=mail if random.random() < 0.82 else None,
                phone=f"+57300{number:07d}" if random.random() < 0.7 else None,
                segment=random.choices([s for s, _ in SEGMENTS], [w for _, w in SEGMENTS])[0],
                location=random.choices(names, weights)[0],
                temper=random.betavariate(2, 5),
            )
        )
    return people
