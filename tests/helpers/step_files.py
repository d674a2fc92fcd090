"""STEP files written by hand: boxes and cylinders, coloured by face, placed in an assembly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

UNITS = {
    "mm": "( LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT(.MILLI.,.METRE.) )",
    "cm": "( LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT(.CENTI.,.METRE.) )",
    "m": "( LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT($,.METRE.) )",
}
Colour = tuple[float, float, float]  # sRGB in [0, 1]


@dataclass
class Writer:
    """Numbers the entities of one file."""

    unit: str = "mm"
    lines: list[str] = field(default_factory=list)

    def add(self, text: str) -> str:
        self.lines.append(f"#{len(self.lines) + 1} = {text};")
        return f"#{len(self.lines)}"

    def point(self, at: Sequence[float]) -> str:
        return self.add("CARTESIAN_POINT('',({:.9g},{:.9g},{:.9g}))".format(*at))

    def direction(self, to: Sequence[float]) -> str:
        return self.add("DIRECTION('',({:.9g},{:.9g},{:.9g}))".format(*to))

    def placement(self, at: Sequence[float], z: Sequence[float], x: Sequence[float]) -> str:
        parts = self.point(at), self.direction(z), self.direction(x)
        return self.add("AXIS2_PLACEMENT_3D('',{},{},{})".format(*parts))

    def context(self) -> str:
        if self.unit == "inch":
            metre = self.add(UNITS["m"])
            ratio = self.add(f"LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(0.0254),{metre})")
            power = self.add("DIMENSIONAL_EXPONENTS(1.,0.,0.,0.,0.,0.,0.)")
            text = f"( CONVERSION_BASED_UNIT('INCH',{ratio}) LENGTH_UNIT() NAMED_UNIT({power}) )"
        else:
            text = UNITS.get(self.unit, "")
        length = [self.add(text)] if text else []
        angle = self.add("( NAMED_UNIT(*) PLANE_ANGLE_UNIT() SI_UNIT($,.RADIAN.) )")
        solid = self.add("( NAMED_UNIT(*) SI_UNIT($,.STERADIAN.) SOLID_ANGLE_UNIT() )")
        units = ",".join([*length, angle, solid])
        return self.add(
            "( GEOMETRIC_REPRESENTATION_CONTEXT(3) "
            f"GLOBAL_UNIT_ASSIGNED_CONTEXT(({units})) REPRESENTATION_CONTEXT('','') )"
        )

    def product(self, name: str, shape: str) -> str:
        """The product definition that a representation is the shape of."""
        what = self.add("APPLICATION_CONTEXT('automotive design')")
        where = self.add(f"PRODUCT_CONTEXT('',{what},'mechanical')")
        product = self.add(f"PRODUCT('{name}','{name}','',({where}))")
        formed = self.add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
        design = self.add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{what},'design')")
        definition = self.add(f"PRODUCT_DEFINITION('design','',{formed},{design})")
        of = self.add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
        self.add(f"SHAPE_DEFINITION_REPRESENTATION({of},{shape})")
        return definition

    def styled(self, item: str, colour: Colour) -> str:
        rgb = self.add("COLOUR_RGB('',{:.6f},{:.6f},{:.6f})".format(*colour))
        of_fill = self.add(f"FILL_AREA_STYLE_COLOUR('',{rgb})")
        fill = self.add(f"FILL_AREA_STYLE('',({of_fill}))")
        fill = self.add(f"SURFACE_STYLE_FILL_AREA({fill})")
        side = self.add(f"SURFACE_SIDE_STYLE('',({fill}))")
        usage = self.add(f"SURFACE_STYLE_USAGE(.BOTH.,{side})")
        style = self.add(f"PRESENTATION_STYLE_ASSIGNMENT(({usage}))")
        return self.add(f"STYLED_ITEM('',({style}),{item})")

    def edge(self, start: str, end: str, curve: str) -> str:
        return self.add(f"EDGE_CURVE('',{start},{end},{curve},.T.)")

    def line(self, start: Sequence[float], along: Sequence[float]) -> str:
        vector = self.add(f"VECTOR('',{self.direction(along)},1.)")
        return self.add(f"LINE('',{self.point(start)},{vector})")

    def face(self, edges: Sequence[tuple[str, bool]], surface: str) -> str:
        """Of edges in their order round it, each with whether it is run along its direction."""
        oriented = [
            self.add(f"ORIENTED_EDGE('',*,*,{edge},{'.T.' if along else '.F.'})")
            for edge, along in edges
        ]
        loop = self.add(f"EDGE_LOOP('',({','.join(oriented)}))")
        bound = self.add(f"FACE_OUTER_BOUND('',{loop},.T.)")
        return self.add(f"ADVANCED_FACE('',({bound}),{surface},.T.)")

    def solid(self, faces: Sequence[str]) -> str:
        shell = self.add(f"CLOSED_SHELL('',({','.join(faces)}))")
        return self.add(f"MANIFOLD_SOLID_BREP('',{shell})")

    def box(self, sides: Sequence[float]) -> tuple[str, list[str]]:
        """A box from the origin to `sides`: the solid and its faces, -x +x -y +y -z +z."""
        corners = [[sides[i] * (n >> i & 1) for i in range(3)] for n in range(8)]
        vertices = [self.add(f"VERTEX_POINT('',{self.point(c)})") for c in corners]
        edges = {}
        for a in range(8):
            for axis in range(3):
                if not a >> axis & 1:
                    b = a | 1 << axis
                    along = [float(i == axis) for i in range(3)]
                    line = self.line(corners[a], along)
                    edges[a, b] = self.edge(vertices[a], vertices[b], line)
        faces = []
        for axis in range(3):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            for far in (0, 1):
                base = far << axis
                ring = [base, base | 1 << u, base | 1 << u | 1 << v, base | 1 << v]
                if not far:
                    ring.reverse()
                pairs = list(zip(ring, [*ring[1:], ring[0]]))
                out = [float(i == axis) * (1 if far else -1) for i in range(3)]
                at = self.placement(corners[base], out, [float(i == u) for i in range(3)])
                run = [(edges.get((a, b)) or edges[b, a], (a, b) in edges) for a, b in pairs]
                faces.append(self.face(run, self.add(f"PLANE('',{at})")))
        return self.solid(faces), faces

    def cylinder(self, radius: float, height: float) -> str:
        """A cylinder about z, from the origin up."""
        ends, rings = [], []
        for z in (0.0, height):
            ends.append(self.add(f"VERTEX_POINT('',{self.point((radius, 0, z))})"))
            at = self.placement((0, 0, z), (0, 0, 1), (1, 0, 0))
            rings.append(self.edge(ends[-1], ends[-1], self.add(f"CIRCLE('',{at},{radius:.9g})")))
        seam = self.edge(*ends, self.line((radius, 0, 0), (0, 0, 1)))
        at = self.placement((0, 0, 0), (0, 0, 1), (1, 0, 0))
        side = self.add(f"CYLINDRICAL_SURFACE('',{at},{radius:.9g})")
        faces = [
            self.face([(rings[0], True), (seam, True), (rings[1], False), (seam, False)], side)
        ]
        for z, ring, up in ((0.0, rings[0], -1), (height, rings[1], 1)):
            at = self.placement((0, 0, z), (0, 0, up), (1, 0, 0))
            faces.append(self.face([(ring, up > 0)], self.add(f"PLANE('',{at})")))
        return self.solid(faces)

    def part(self, name: str, solid: str, context: str, styles: Sequence[str] = ()) -> tuple:
        """A product of one solid: its definition, its representation and its own placement."""
        at = self.placement((0, 0, 0), (0, 0, 1), (1, 0, 0))
        shape = self.add(f"ADVANCED_BREP_SHAPE_REPRESENTATION('',({at},{solid}),{context})")
        if styles:
            self.add(
                "MECHANICAL_DESIGN_GEOMETRIC_PRESENTATION_REPRESENTATION"
                f"('',({','.join(styles)}),{context})"
            )
        return self.product(name, shape), shape, at

    def assembly(self, name: str, part: tuple, places: Sequence[tuple], context: str) -> None:
        """One part several times, each (origin, z, x)."""
        definition, shape, own = part
        here = self.placement((0, 0, 0), (0, 0, 1), (1, 0, 0))
        spots = [self.placement(*place) for place in places]
        whole = self.add(f"SHAPE_REPRESENTATION('',({','.join([here, *spots])}),{context})")
        above = self.product(name, whole)
        for number, spot in enumerate(spots):
            use = self.add(
                f"NEXT_ASSEMBLY_USAGE_OCCURRENCE('{number}','{number}','',{above},{definition},$)"
            )
            of = self.add(f"PRODUCT_DEFINITION_SHAPE('','',{use})")
            turn = self.add(f"ITEM_DEFINED_TRANSFORMATION('','',{own},{spot})")
            link = self.add(
                f"( REPRESENTATION_RELATIONSHIP('','',{shape},{whole}) "
                f"REPRESENTATION_RELATIONSHIP_WITH_TRANSFORMATION({turn}) "
                "SHAPE_REPRESENTATION_RELATIONSHIP() )"
            )
            self.add(f"CONTEXT_DEPENDENT_SHAPE_REPRESENTATION({link},{of})")

    def save(self, path: Path) -> Path:
        head = (
            "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\n"
            "FILE_NAME('','2026-01-01T00:00:00',(''),(''),'','','');\n"
            "FILE_SCHEMA(('AUTOMOTIVE_DESIGN { 1 0 10303 214 1 1 1 1 }'));\nENDSEC;\nDATA;\n"
        )
        path.write_text(head + "\n".join(self.lines) + "\nENDSEC;\nEND-ISO-10303-21;\n")
        return path


def step_box(
    path: Path,
    sides: Sequence[float],
    unit: str = "mm",
    whole: Colour | None = None,
    faces: dict[int, Colour] | None = None,
) -> Path:
    """A box from the origin to `sides`.

    Args:
        unit: "mm", "cm", "m", "inch" or "" (none is stated).
        whole: colour of the solid. faces: colours of faces, -x +x -y +y -z +z.
    """
    writer = Writer(unit)
    context = writer.context()
    solid, sheets = writer.box(sides)
    styles = [] if whole is None else [writer.styled(solid, whole)]
    styles += [writer.styled(sheets[i], colour) for i, colour in (faces or {}).items()]
    writer.part("box", solid, context, styles)
    return writer.save(path)


def step_cylinder(path: Path, radius: float, height: float, unit: str = "mm") -> Path:
    """A cylinder about z, from the origin up, without a colour."""
    writer = Writer(unit)
    context = writer.context()
    writer.part("cylinder", writer.cylinder(radius, height), context)
    return writer.save(path)


def step_assembly(path: Path, sides: Sequence[float], places: Sequence[tuple]) -> Path:
    """Boxes of these sides in mm, red, each at a place (origin, z, x)."""
    writer = Writer()
    context = writer.context()
    solid, _ = writer.box(sides)
    part = writer.part("box", solid, context, [writer.styled(solid, (1, 0, 0))])
    writer.assembly("boxes", part, places, context)
    return writer.save(path)
