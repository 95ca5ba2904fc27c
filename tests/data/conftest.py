"""A small shop, as tables of text."""

from pathlib import Path

BUYS = """user,item,timestamp,rating,user_name
u2,i3,5,4,Zoe
u2,i1,3,,
u1,i2,1,5,
u1,i3,1,3,Ann
u1,i1,0,,Anna
u2,i2,5,,
u1,i2,9,,
"""
ITEMS = """item,title,brand,genres,image,paper_id,colour
i3,Three,,A|B,images/three.png,30,red
i1,One,B1,,,10,
i2,Two,,A,,20,
i9,Nine,,,,,
"""
REVIEWS = """user,item,rating,summary,reviewText,user_name
u1,i1,5,fine,It does what I need. More,
u1,i2,1,bad,It broke after a week.,
u2,i2,2,hm,Not quite what was shown.,Zed
u9,i1,2,,Nobody knows this user.,
u1,i3,2,,short,
"""


def files(folder: Path, **texts: str) -> dict[str, Path]:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return {name: folder / f"{name}.csv" for name in texts}
