"""Help pages, in the window."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSize, Qt, QUrl
from PySide6.QtGui import QImageReader, QTextCursor, QTextDocument
from PySide6.QtWidgets import (
    QDialog,
    QListWidget,
    QListWidgetItem,
    QSplitter,
    QTextBrowser,
    QWidget,
)

from self6d.losses.terms import as_markdown
from self6d.paths import resource
from studio.panels.welcome import small_picture
from studio.toolkit.theme import theme
from studio.toolkit.widgets import GAP, column

PAGES = (
    ("start", "Start here"), ("tour", "Tour in pictures"), ("data", "Data"),
    ("synthetic", "Synthetic"), ("selfsup", "Self-supervise"), ("pose", "One pose, X-ray"),
    ("evaluate", "Evaluate, export"), ("keys", "Keys"), ("trouble", "When something goes wrong"),
)  # fmt: skip
STEP_PAGES = {"export": "evaluate"}


class Page(QTextBrowser):
    """Text with pictures, which are drawn as wide as the page."""

    def loadResource(self, kind: int, name: QUrl | str) -> Any:
        image = QTextDocument.ResourceType.ImageResource.value
        file = resource("help") / (name if isinstance(name, str) else name.toString())
        if kind != image or not file.exists():
            return super().loadResource(kind, name)
        whole = QImageReader(str(file)).size()
        width = min(max(self.viewport().width() - 40, 320), whole.width())
        size = QSize(width, round(whole.height() * width / max(whole.width(), 1)))
        return small_picture(file, size, self.devicePixelRatioF())


class HelpDialog(QDialog):
    """A list of pages beside the page."""

    def __init__(self, parent: QWidget, page: str = "start") -> None:
        super().__init__(parent)
        self.setWindowTitle("Help")
        self.resize(900, 640)
        self.list = QListWidget()
        self.list.setAccessibleName("Pages")
        self.list.ensurePolished()  # else its lines are laid out without the style's padding
        self.text = Page()
        self.text.setAccessibleName("The page")
        self.text.setOpenExternalLinks(True)
        for key, title in PAGES:
            item = QListWidgetItem(title)
            item.setData(Qt.ItemDataRole.UserRole, key)
            self.list.addItem(item)
        self.list.currentItemChanged.connect(self._on_page)
        split = QSplitter()
        split.addWidget(self.list)
        split.addWidget(self.text)
        split.setSizes([220, 680])
        self.setLayout(column(split, margin=12))
        self.show_page(page)

    def show_page(self, page: str) -> None:
        """A page by name, or the page of a step."""
        page = STEP_PAGES.get(page, page)
        keys = [key for key, _ in PAGES]
        self.list.setCurrentRow(keys.index(page) if page in keys else 0)

    def _on_page(self, item: QListWidgetItem) -> None:
        name = item.data(Qt.ItemDataRole.UserRole)
        text = resource(f"help/{name}.md").read_text(encoding="utf-8")
        if theme.dark:
            text = text.replace("-light.jpg", "-dark.jpg")
        self.text.setMarkdown(text.replace("{terms}", as_markdown()))
        self._space()

    def _space(self) -> None:
        """Paragraphs of Markdown stand apart, as no style sheet makes them."""
        block = self.text.document().begin()
        while block.isValid():
            form = block.blockFormat()
            form.setTopMargin(GAP if form.headingLevel() > 1 else 0)
            form.setBottomMargin(GAP // 4 if block.textList() is not None else GAP)
            QTextCursor(block).setBlockFormat(form)
            block = block.next()
