"""Golden outputs for the chat templates, from jinja2 set up as transformers does.

    python scripts/goldens/templates.py                writes Tests/MoruTextTests/Templates/Goldens/*.json
    python scripts/goldens/templates.py --gguf FILE    prints the template in FILE and its outputs, as JSON
"""

import argparse
import datetime
import json
import pathlib

from jinja2 import TemplateError
from transformers.utils import chat_template_utils as reference

NOW = datetime.datetime(2024, 7, 26, 12, 34, 56)
GOLDENS = pathlib.Path(__file__).parents[2] / "Tests/MoruTextTests/Templates/Goldens"


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


reference.datetime = Clock


# ---- Conversations ------------------------------------------------------------------------------------------------

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather <now> & later, in °C or °F.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "A city's name, e.g. \"Seoul\""},
                "days": {"type": "integer", "default": 1, "minimum": 0.5},
                "units": {"type": ["string", "boolean"], "enum": ["c", "f", None]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "options": {"type": "object", "additionalProperties": {"type": "number"}},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "", "parameters": {"type": "object", "properties": {}}}}


def call(name, arguments, id="abc123XYZ"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


SYSTEM = {"role": "system", "content": "You are Moru.\nBe exact."}
HI = [{"role": "user", "content": "Hello there!"}]
TURNS = HI + [
    {"role": "assistant", "content": "  Hi! What can I do?\n"},
    {"role": "user", "content": "Tell me about <b>anvils</b> & \"hammers\"."},
    {"role": "assistant", "content": "They meet."},
    {"role": "user", "content": "Thanks\t!"},
]
UNICODE = [
    {"role": "user", "content": "안녕하세요 👩‍👩‍👧‍👦 é vs e\u0301, ß ﬁ İ — “quotes”\u00a0\u3000"},
    {"role": "assistant", "content": "\u2003네, 알겠습니다 🎉\r\nzweite Zeile\u0000\u0007 \\n {{ not jinja }}"},
    {"role": "user", "content": "한국어로 답해 주세요."},
]
TOOLS = [
    {"role": "user", "content": "Weather in Seoul and Paris?"},
    {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Seoul", "days": 2, "ratio": 1.0})]},
    {"role": "tool", "name": "get_weather", "content": "{\"t\": 21}", "tool_call_id": "abc123XYZ"},
    {"role": "assistant", "content": "Seoul has 21 °C."},
    {"role": "user", "content": "And the time?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [call("clock", {}), call("get_weather", {"city": "Paris ' \" é", "units": None, "tags": []}, "def456uvw")],
    },
    {"role": "tool", "content": "12:00", "tool_call_id": "abc123XYZ"},
    {"role": "tool", "content": "rain", "tool_call_id": "def456uvw"},
]
THINKING = [
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\n4"},
    {"role": "user", "content": "And 3+3?"},
    {"role": "assistant", "content": "6", "reasoning_content": "\nThree and three.\n"},
]
PARTS = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is this? "}]},
    {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
]

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
CASES = [
    {"name": "hello", "messages": HI, "prompt": True},
    {"name": "hello without prompt", "messages": HI, "prompt": False},
    {"name": "system", "messages": [SYSTEM] + HI, "prompt": True},
    {"name": "turns", "messages": TURNS, "prompt": True},
    {"name": "system and turns", "messages": [SYSTEM] + TURNS, "prompt": False},
    {"name": "unicode", "messages": [{"role": "system", "content": "Système /no_think"}] + UNICODE, "prompt": True},
    {"name": "ends with assistant", "messages": TURNS[:4], "prompt": False},
    {"name": "tools", "messages": TOOLS, "tools": [WEATHER, CLOCK], "prompt": True},
    {"name": "one tool call", "messages": TOOLS[:5], "tools": [WEATHER], "prompt": True},
    {"name": "system tool call", "messages": [SYSTEM] + TOOLS[:3], "tools": [WEATHER], "prompt": True, "extra": {"tools_in_user_message": False}},
    {"name": "builtin tools", "messages": TOOLS[:1] + [{"role": "assistant", "content": "", "tool_calls": [call("search", {"query": "x y"})]}], "prompt": True, "extra": {"builtin_tools": ["search", "code_interpreter"]}},
    {"name": "thinking", "messages": THINKING, "prompt": True},
    {"name": "no thinking", "messages": THINKING[:3], "prompt": True, "extra": {"enable_thinking": False, "thinking": True}},
    {"name": "parts", "messages": PARTS, "prompt": True},
    {"name": "documents", "messages": HI, "prompt": True, "extra": {"documents": [{"doc_id": 7, "text": "One."}, {"text": "Two."}], "controls": {"citations": True}}},
    {"name": "system override", "messages": [{"role": "system", "content": "Short. /system_override"}] + HI, "prompt": True, "extra": {"date_string": "01 Jan 2025"}},
    {"name": "phi tools", "messages": [{"role": "system", "content": "S", "tools": "[]"}] + HI, "prompt": False},
    {"name": "two users", "messages": HI + HI, "prompt": True},
    {"name": "empty", "messages": [], "prompt": True},
]


def render(source, case):
    chat = reference._alias_reasoning_fields(reference._plain_template_data(case["messages"]))
    variables = dict(messages=chat, tools=case.get("tools"), documents=None, add_generation_prompt=case["prompt"])
    variables.update(TOKENS)
    variables.update(case.get("extra", {}))
    return outcome(source, variables)


def outcome(source, variables):
    """`{"output": ...}`, or `{"raised": message}` for raise_exception, or `{"fails": the error's type}`."""
    try:
        template = reference._cached_compile_jinja_template(source)
        return {"output": template.render(**variables)}
    except TemplateError as error:
        if type(error) is TemplateError:
            return {"raised": str(error)}
        return {"fails": type(error).__name__}
    except Exception as error:
        return {"fails": type(error).__name__}


def generation_ranges(source, case):
    """Where the assistant's text lies, in UTF-8 bytes."""
    texts, ranges = reference.render_jinja_template(
        [case["messages"]], chat_template=source, return_assistant_tokens_mask=True, tools=case.get("tools"), **TOKENS, **case.get("extra", {})
    )
    text = texts[0]
    return {"text": text, "ranges": [[len(text[:a].encode()), len(text[:b].encode())] for a, b in ranges[0]]}


# ---- Expressions --------------------------------------------------------------------------------------------------

VARIABLES = {
    "s": "Hello World",
    "empty": "",
    "u": "naïve 한글 👍🏽 ǅ ﬁ ß",
    "spaced": "  \t a b  c \n",
    "lines": "one\ntwo\r\n\nthree\u2028four",
    "n": 42,
    "neg": -7,
    "f": 3.14159,
    "whole": 2.0,
    "t": True,
    "no": None,
    "xs": [3, 1, 2],
    "words": ["b", "A", "c", "a", "B"],
    "nested": [[1, [2, "x"]], {"k": [None, True, 1.5]}],
    "d": {"b": 1, "a": "two", "C": [1, 2], "items": "shadow", "get": 5},
    "people": [
        {"name": "Ann", "age": 31, "address": {"city": "Ulm"}},
        {"name": "bob", "age": 25, "address": {"city": "Bonn"}},
        {"name": "Cid", "age": 31},
    ],
    "inf": "inf",
    "nan": "NaN",
    "quote": "it's \"q\" \\ \n\x00\u200b",
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4
(1 + 2) * 3
7 // 2, -7 // 2, 7 // -2, 7 % 3, -7 % 3, 7 % -3
7 / 2, 6 / 3, 1 / 3
7.5 // 2, -7.5 // 2, 7.5 % 2, -7.5 % 2, 5.0 % -3
2 ** 10, 2 ** -1, 2 ** 3 ** 2, -2 ** 2, 2.0 ** 0.5
1 / 0
1 % 0
1.5 // 0
1_000 + 0x1F + 0b101 + 0o17
1.5e3, 1e16, 1e15, 1.0, 1e-4, 1e-5, 123456789.123, 1e22, 0.1 + 0.2, 1_0.2_5
100000000000000000000.0, 1.7976931348623157e308, 5e-324
-n, +n, - -n, -f, -t
n - neg, n * 2.0, n ~ neg, t + t, t * 3, whole, whole * 3
'a' + 'b', 'ab' * 3, 3 * 'ab', 'a' * 0, 'a' * -1
'a' 'b' "c"
[1] + [2], [1, 2] * 2, (1,) + (2,), () , (1, 2) * 2, []
'a' + 1
1 + 'a'
[1] + (2,)
'a' - 'b'
none + 1
'a' ~ 1 ~ none ~ true ~ [1, 'x'] ~ 1.0
1 ~ 2 + 3
1 < 2 < 3, 1 < 3 < 2, 3 > 2 >= 2 != 1
1 == 1.0, 1 == true, '1' == 1, none == false, [1] == [1.0], (1,) == [1], {'a': 1} == {'a': 1.0}
'a' < 'b', 'B' < 'a', 'a' < 'aa', [1, 2] < [1, 3], (1,) < (1, 0), 'é' < 'z', '한' < '👍'
1 < 'a'
none < none
[1, 'a'] < [1, 2]
'ell' in s, 'x' in s, '' in s, 3 in xs, 9 not in xs, 'a' in d, 'zz' in d, none in [none]
1 in 'a1'
1 in (1, 2), 3 in range(3), 2 in range(0, 10, 2), 3 in range(0, 10, 2)
'a' in missing, missing in [1]
1 in 5
not true, not 0, not '', not [], not {}, not none, not missing, not [0]
true and 1, 0 and 1, '' or 'x', none or 0, 1 or boom.bang, missing or 'm', 1 and '' or 'z'
not 1 == 2, not 'a' in 'b', not not 3
1 if true else 2, 1 if false else 2, 'x' if missing else 'y' if n else 'z'
('a' if false) is undefined, ('a' if false) ~ '|'
('a' if false).x
n if n > 40 if t else 'no'
true, false, none, True, False, None
[true, none, 1.0, 'a', "it's", 'q"', (1,), (), {}]
{'a': 1, 'b': [1, {'c': none}], 1: 2, none: 3, true: 4, 1.5: 5, (1, 2): 6}
{'a': 1, 'a': 2, 1: 'x', 1.0: 'y', true: 'z'}
{[1]: 2}
{'a': 1,}, [1, 2,], (1, 2,)
nested, d, people[0], quote, u
quote|string, [quote], [u], ['\x7f\xa0\xad\u2028\ud7ff'], ['\t\r\n']
'\n\t\\\'\"\x41\u00e9\U0001F600\101\q\é'
"a\
b"
'\N{DASH}'
'\x4'
xs[0], xs[-1], xs[3], xs[-4], xs['0'], xs[true], xs[1.0], s[0], s[-1], s[99], u[6], u[-1]
xs[0:2], xs[:], xs[::-1], xs[-2:], xs[5:], xs[:-1], xs[::2], xs[2:0:-1], xs[10:0:-1], xs[-100:100], xs[1:1]
s[:5], s[-5:], s[::-1], s[1:8:3], s[8:1:-3], u[6:8], empty[:3], (1,2,3)[1:], range(10)[2:8:2], range(5)[::-1]
xs[none:2], xs[:none:none]
xs[::0]
xs['a':]
no[:1]
n[0:1]
d['a'], d['zz'], d.a, d.zz, d.C[0], d['C'][1], d['items'], d['get'], d.items is callable, d.get != 5, people[0].address.city
people.0.name, people[1]['name'], nested.0.1.1
missing, missing is defined, missing is undefined, missing|length, missing|list, [missing]
missing.x
missing['x']
missing + 1
missing ~ 'x', missing == missing, missing == none, missing != 1
missing > 1
missing()
-missing
no.x, no['x'], no[0]
no.x.y
n.x, n['x'], s.foo
s.upper(), s.lower(), s.title(), s.swapcase(), s.capitalize(), 'élan vital'.capitalize(), u.upper(), u.title(), u.lower()
"they're bill's".title(), 'x1y z-w'.title(), 'ǆa'.title()
spaced.strip() ~ '|', spaced.lstrip() ~ '|', spaced.rstrip() ~ '|', 'xxaxx'.strip('x'), 'abcba'.strip('ab'), 'xax'.lstrip('x'), 'xax'.rstrip('x'), 'a'.strip('')
'\u00a0\u3000x\u200b\u2003\x1c'.strip()|length
spaced.split(), 'a,b,,c'.split(','), 'a,b,c'.split(',', 1), 'a,b,c'.rsplit(',', 1), 'a  b c'.split(none, 1), ' a b '.split(' '), ''.split(), ''.split(','), '  a b c  '.rsplit(none, 1), 'aaa'.split('aa'), 'aaa'.rsplit('aa', 1), 'a b c d'.split(maxsplit=2)
'a'.split('')
lines.splitlines(), lines.splitlines(true), ''.splitlines(), '\n'.splitlines(), 'a\r\r\nb\x0bc\x85d'.splitlines()
s.startswith('He'), s.startswith(('x', 'Hello')), s.endswith('ld'), s.startswith('World', 6), s.endswith('lo', 0, 5), s.startswith(''), 'é'.startswith('e')
s.startswith(1)
s.replace('l', 'L'), s.replace('l', 'L', 1), s.replace('', '-'), s.replace('zz', 'y'), 'aaa'.replace('aa', 'b'), 'abc'.replace('', '-', 2), s.replace('o', '')
', '.join(words), ''.join([]), '-'.join('abc'), ','.join({'x': 1, 'y': 2})
','.join([1, 2])
s.find('o'), s.find('o', 5), s.find('zz'), s.rfind('o'), s.index('W'), s.count('l'), s.count(''), s.find(''), s.count('o', 5), u.find('글'), s.rfind('o', 0, 5), 'aaaa'.count('aa')
s.index('zz')
'12'.isdigit(), '１２'.isdigit(), '²'.isdigit(), '²'.isdecimal(), '½'.isnumeric(), ''.isdigit(), 'abc'.isalpha(), 'a1'.isalnum(), 'a b'.isalpha(), ' \n'.isspace(), 'AB'.isupper(), 'aB'.islower(), '한글'.isalpha(), 'A1'.isupper(), '1'.isupper(), 'Ab Cd'.istitle(), 'AB'.istitle(), 'é'.isascii()
'a-b-c'.partition('-'), 'a-b-c'.rpartition('-'), 'abc'.partition('-'), 'abc'.rpartition('-')
'ab'.center(5, '*'), 'abc'.center(6, '*'), 'a'.ljust(3) ~ '|', 'a'.rjust(3), '-5'.zfill(4), '5'.zfill(3), 'abc'.zfill(2)
'prefix-x'.removeprefix('prefix-'), 'x.py'.removesuffix('.py'), 'abc'.removeprefix('x'), 'a\tb'.expandtabs(4)
'{} {}'.format(1, 'a'), '{0}{1}{0}'.format('x', 'y'), '{a}/{b.name}/{c[0]}'.format(a=1, b=people[0], c=xs), '{{}}'.format(), '{!r} {!s}'.format('a', 'b'), '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:05d} {:+d} {:,} {:x} {:#x} {:b} {:o} {:e} {:.2f} {:.1%} {:g} {:08.3f}'.format(42, 42, 1234567, 255, 255, 5, 8, 12345.678, 3.14159, 0.256, 0.0001, 3.14159)
'{:{w}.{p}f}|{:.3}|{:10}|{}'.format(3.14159, 'abcdef', true, none, w=8, p=2), '  a b c  '.split(none, 1), '{:<5}|{}'.format(true, false)
'{'.format()
'{} {}'.format(1)
'{x}'.format()
'{:d}'.format('a')
'%s %d %5.2f|%-5s|%5s|%05d|%x|%r|%%|%+d|%e|%g|%c' % ('a', 3.7, 3.14159, 'ab', 'cd', 42, 255, 'q', 5, 12345.678, 0.5, 'z')
'%s' % 'x', '%s' % [1, 2], '%s-%s' % (1, 2), '%(a)s %(b)03d' % {'a': 1, 'b': 2}, '%.2s' % 'abc', '%*d' % (5, 42), 'none' % {}
'%d' % 'a'
'%s %s' % (1,)
'%s' % (1, 2)
'%s %s'|format('a', 1), '%(x)s'|format(x=5), '%.1f'|format(2.25)
d.keys()|list, d.values()|list, {'a': 1}.items()|list, {'a': 1}.keys(), {'a': 1}.items(), {'a': [1]}.values(), {'a': 1}.get('a'), {}.get('a'), {}.get('a', 5), {'a': 1}.copy()
{'a': 1}.items()|length, ('a', 1) in {'a': 1}.items(), 'a' in {'a': 1}.keys()
{}.get()
xs.index(1), xs.count(3), (1, 1).count(1), xs.copy()
xs.index(99)
xs.append(1)
d.update({})
d.pop('a')
xs.append is defined, xs.append is undefined, xs.foo is defined, d.keys is callable
xs.sort()
s.__class__
s['__class__']
''.__class__.__mro__
range(3), range(1, 10, 3)|list, range(5, 0, -2)|list, range(0)|list, range(3)[1], range(10)|length, range(3) == range(0, 3, 1), range(2)|list
range(1000000)
range()
range('a')
range(1, 2, 0)
dict(a=1, b=2), dict([('a', 1)]), dict({'a': 1}, b=2), dict()
dict(1)
namespace(a=1).a, namespace(a=1).b is defined, namespace({'a': 1})['a']
namespace(_x=1)
cycler('a', 'b').next(), joiner('x')()
cycler()
raise_exception('no: ' ~ n)
raise_exception()
strftime_now('%Y-%m-%d'), strftime_now('%d %b %Y, %A %B %j %y %%'), strftime_now('%z|%Z|')
nope()
'x'()
n.upper()
s.nope()
range is defined, loop is defined, joiner is defined, true is defined
xs|length, s|length, d|count, u|length, 'e\u0301'|length, missing|length, {}|length, range(5)|length, '👩‍👩‍👧'|length
5|length
none|length
xs|first, xs|last, ''|first, []|first, s|first, s|last, d|first, []|last ~ 'x', u|last
xs|map('string')|last
xs|sort, xs|sort(reverse=true), words|sort, words|sort(case_sensitive=true), words|sort(true), people|sort(attribute='name')|map(attribute='name')|list, people|sort(attribute='age,name', reverse=true)|map(attribute='name')|list, s|sort|join, d|sort
[1, 'a']|sort
[none, 1]|sort
xs|reverse|list, s|reverse, range(3)|reverse|list, (1, 2)|reverse|list, d|reverse|first
xs|join, xs|join(', '), people|join('/', attribute='name'), s|join('-'), []|join, [1, none, true]|join(' '), missing|join
5|join
xs|sum, people|sum(attribute='age'), []|sum, [1.5, 2]|sum, xs|sum(start=10), [[1], [2]]|sum(start=[])
words|sum
xs|max, xs|min, words|max, words|min, words|min(case_sensitive=true), people|max(attribute='age'), []|max ~ '|', [1, 2.5]|max
words|unique|list, words|unique(true)|list, [1, 1.0, true, 2]|unique|list, people|unique(attribute='age')|map(attribute='name')|list
xs|list, s[:3]|list, d|list, ('a', 'b')|list, missing|list, {'a': 1}.items()|list
5|list
words|map('upper')|list, people|map(attribute='address')|list, people|map(attribute='address', default='?')|list, people|map(attribute='name')|map('lower')|join(','), ['a b', 'c']|map('replace', ' ', '_')|list, [[1, 2], [3]]|map('sum')|list, [[1, 2], [3]]|map(attribute=0)|list, [' a ']|map('trim')|list, [1, 2]|map('string')|join('+')
people|map(attribute='address.city')|list
people|map(attribute='address.city', default='?')|list
xs|map|list
xs|map('nope')|list
xs|map(foo='x')|list
xs|select('odd')|list, xs|select('gt', 1)|list, xs|reject('even')|list, [0, 1, '', 'a']|select|list, [0, 1, none]|reject|list, xs|select('in', [1, 2])|list, words|select('lower')|list, xs|select('>=', 2)|list, ['a', none]|select('string')|list
people|selectattr('age', 'equalto', 31)|map(attribute='name')|list, people|rejectattr('age', 'eq', 31)|map(attribute='name')|list, people|selectattr('address')|list|length, people|selectattr('name', 'in', ['Ann'])|first, people|rejectattr('address', 'defined')|list|length
people|selectattr('address.city', 'defined')|list
people[:2]|selectattr('address.city.x', 'defined')|list, people[:2]|selectattr('address.city', 'in', ['Ulm'])|list
people|selectattr|list
xs|select('nope')|list
xs|select('odd')|length
(xs|select('gt', 100)) and 'truthy'
(xs|map('string')) is iterable, (xs|map('string')) is sequence, (xs|map('string')) is string
(xs|map('string'))[0] is defined
xs|select('odd')|tojson
xs|batch(2)|list, xs|batch(2, 'x')|list, xs|slice(2)|list, range(7)|slice(3)|list, range(7)|slice(3, 'z')|list, []|batch(3)|list, range(4)|batch(4)|list
xs|slice(0)|list
people|groupby('age'), words|groupby('0')|length, people|groupby('address.city', default='-')|map('first')|list, words|map('list')|groupby(0)|map('first')|list
{'b': 2, 'a': 1, 'C': 0}|dictsort, {'b': 2, 'a': 1, 'C': 0}|dictsort(true), {'b': 2, 'a': 1}|dictsort(false, 'value'), {'b': 2, 'a': 1}|dictsort(reverse=true), {'b': 'x', 'a': 'Y'}|dictsort(by='value')
d|dictsort(by='x')
xs|dictsort
{'a': 1}|items|list, missing|items|list
xs|items|list
missing|default('x'), missing|d('x'), ''|default('x'), ''|default('x', true), none|default('x'), none|default('x', boolean=true), 0|default(5, true), missing|default, (missing|default({})).x is defined, missing.x|default('y') if missing else 'safe'
missing.x|default('y')
5|default(default_value=1), missing|default(default_value=[1])
s|upper, s|lower, u|upper, 'hello WORLD'|capitalize, 'hello world-foo (bar)'|title, "it's o'neil <x"|title, n|upper, none|lower, [1]|upper
spaced|trim ~ '|', 'xxax'|trim('x'), n|trim, missing|trim, '\n a \n'|trim
s|replace('l', 'L'), s|replace('l', 'L', 1), n|replace(4, 'x'), 'aaa'|replace('a', 'b', count=2), missing|replace('a', 'b'), s|replace('o', none)
s|center(21) ~ '|', 'ab'|center(5) ~ '|', 'abc'|center(4) ~ '|', 'a'|center(4) ~ '|'
s|replace('l')
'a\nb\n\nc'|indent, 'a\nb'|indent(2, true), 'a\n\nb'|indent(width=3, blank=true), 'a\nb'|indent('>>'), 'a\nb\n'|indent, ''|indent(2, true)
'foo bar baz qux'|truncate(9), 'foo bar baz qux'|truncate(9, true), 'foo bar baz qux'|truncate(11), 'foo bar baz qux'|truncate(11, false, '...', 0), 'foobarbazqux'|truncate(6, leeway=0)
missing|truncate
'foo bar'|truncate(2, leeway=0)
'The quick brown fox jumps over the lazy dog'|wordwrap(10), 'averyveryverylongword x'|wordwrap(6), 'averyverylong x'|wordwrap(6, false), 'well-known co-op'|wordwrap(7), 'a\n\nb c'|wordwrap(1), 'a b c d'|wordwrap(3, wrapstring='|')
'a b  c'|wordcount, ''|wordcount, u|wordcount, "it's x_y 1.5"|wordcount
'<a href="x">\'&</a>'|escape ~ '<>'|e ~ n|e ~ '<b>'|safe ~ '<b>'|forceescape
'<p>a <b>b</b>\n  c</p><!-- x -->d &amp; e'|striptags
'a b/c?d=é&e'|urlencode, {'a b': 'c/d', 'e': 1}|urlencode, [('x', 'y z')]|urlencode, n|urlencode
{'class': 'a "b"', 'x': none, 'n': 5}|xmlattr, {}|xmlattr, {'a': 1}|xmlattr(false)
-5|abs, 5|abs, -1.5|abs, neg|abs, true|abs
'a'|abs
missing|abs
'42'|int, ' 42 '|int, '42.7'|int, 'x'|int, 'x'|int(7), 3.9|int, -3.9|int, none|int, '0x1f'|int(base=16), 'ff'|int(0, 16), '1_000'|int, true|int, ''|int, '1e3'|int, [1]|int(default=-1), '0b11'|int(base=2), '-5'|int, '+5'|int, '12abc'|int
missing|int
'1.5'|float, 'x'|float, 'x'|float(2.5), '1e3'|float, n|float, none|float, ' 2 '|float, '.5'|float, '5.'|float, inf|float, nan|float, ('-' ~ inf)|float, true|float, '1_0'|float
2.5|round, 3.5|round, 2.567|round(2), 2.567|round(1, 'ceil'), 2.567|round(1, 'floor'), 42|round, 42.0|round, 1234.5|round(-2), 2.675|round(2), 2.1|round(0, 'ceil'), 42|round(1, 'floor'), -2.5|round, 0.5|round, 1e20|round
2.5|round(method='x')
'a'|round
1000|filesizeformat, 1|filesizeformat, 999|filesizeformat, 1500000|filesizeformat, 1024|filesizeformat(true), 123456789012|filesizeformat, '2048'|filesizeformat(binary=true)
[1, 'é', none, true, 1.0, {'b': 1, 'a': [1, 2]}, (1, 2)]|tojson
{'a': 'x"\\\n\t\r\u0000\u007f\u2028</script>', 'b': {}, 'c': [], 'é': '👍', 1: 2, none: 3, true: 4, 1.5: 5}|tojson
{'b': 1, 'a': [1, {'x': []}]}|tojson(indent=2), [1]|tojson(indent=0), {'b': 1, 'a': 2}|tojson(sort_keys=true), [1, {'a': 2}]|tojson(separators=(',', ':')), 'é👍'|tojson(ensure_ascii=true), [1, [2]]|tojson(indent='--'), {'b': 1, 'a': 2}|tojson(indent=4, separators=(', ', '= '))
missing|tojson
range(2)|tojson
{(1, 2): 3}|tojson
1e16|tojson, 1e-7|tojson, 'inf'|float|tojson, none|tojson, 'x'|tojson, 1.0|tojson
xs|string, 1.0|string, none|string, s|string|length, [none]|string
people[0]|attr('name') is defined, s|attr('upper') is defined, missing|attr('x') if false else 'skip'
xs|pprint, 'a'|pprint
xs|nope
n is odd, n is even, n is divisibleby 7, n is divisibleby(5), neg is odd, 3.0 is odd, neg is even
'a' is odd
missing is defined, n is defined, n is not defined, missing is not defined, d.a is defined, d.zz is defined, no is defined
no is none, n is none, missing is none, n is not none
n is number, f is number, t is number, s is number, n is integer, t is integer, f is integer, f is float, n is float, t is boolean, n is boolean, t is true, t is false, 1 is true, false is false
s is string, n is string, xs is string, d is mapping, xs is mapping, people[0] is mapping
xs is sequence, s is sequence, d is sequence, n is sequence, missing is sequence, (1,) is sequence, range(1) is sequence, {}.items() is sequence, no is sequence
xs is iterable, s is iterable, n is iterable, missing is iterable, {}.items() is iterable, no is iterable
range is callable, n is callable, s.upper is callable, missing is callable, cycler('a') is callable, joiner() is callable
'abc' is lower, 'ABC' is upper, 'aB' is lower, '' is lower, n is upper
n is eq 42, n is equalto(42), n is ne 41, n is gt 41, n is ge 42, n is lt 43, n is le 41, n is greaterthan 1, n is lessthan 1
n is ==(42)
3 is in xs, 3 is in(xs), 'a' is in 'abc', 9 is not in xs
n is sameas 42, none is sameas none, true is sameas true, 1 is sameas true, 1 is sameas 1.0
'upper' is filter, 'nope' is filter, 'odd' is test, 'nope' is test, s is escaped
n is nope
n is divisibleby
n is defined and n > 1, n is defined or boom.x, not n is defined, n is defined == true
n is defined is true
n is string if false else 'b'
xs|first is odd, xs|length > 2 and 'yes', n|string ~ 'x', n + xs|length
-xs|first
xs|sort|first + 1, (xs|sort)[0], -n|abs
xs|sort[0]
s.upper().lower()[0:2].split('e')[0]|length
[1, 2, 3][1], {'a': {'b': 5}}.a.b, 'abc'[1], (1, 2)[0], 'abc'.upper()[0]
dict(**{'a': 1}), dict(*[[('a', 1)]]), '{}{}'.format(*[1, 2]), '{a}'.format(**{'a': 1}), range(*[1, 3])|list
dict(**[1])
dict(a=1, **{'a': 2})
'a' if 'b' in 'abc' and not 'z' in 'abc' else 'c'
1 if 2
[x for x in xs]
lambda: 1
xs[1
(1
1 +
'abc
1 2
a b
{{ 1 }}
1 = 2
a.
a[]
a|
a is
a is not
foo(a=1, 2)
foo(*a, 1)
foo(**a, b=1)
foo(1,)
@
a ? b
a && b
a!
xs.0, xs.5 is defined, 1.5.x is defined
n.real is defined or true
12abc
""".strip("\n").split("\n")
# A line that ends in a backslash goes on with the next.
EXPRESSIONS = "\n".join(EXPRESSIONS).replace("\\\nb\"", "\\\x00b\"").split("\n")
EXPRESSIONS = [line.replace("\x00", "\n") for line in EXPRESSIONS]

STATEMENTS = [
    # Whitespace
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\n  {% if true %}  \n  b\n  {% endif %}\nc\n\n",
    "a {%- if true -%} b {%- endif -%} c",
    "a\n\n{%- if true %}\n\nb{% endif -%}\n\n c",
    "  {%+ if true +%}  \nx{% endif +%}\ny",
    "  {{ 1 }}  \n  {{- 2 -}}  \n 3",
    "{# c #}\na{#- c -#} \n b\n  {# c #}\nx {# c +#}\ny",
    "a\r\nb\rc\n{% if true %}\r\nx\r\n{% endif %}\r\n",
    "{% raw %}\n  {{ x }}{% if %}\n{% endraw %}\nz",
    "a {%- raw -%} {{ x }} {%- endraw -%} b",
    "  {% raw %}  {% endraw %}  \n",
    "{%if true%}x{%endif%}",
    "{% if true %}{# a #}\n  {% endif %}\n  t",
    "{{ '{{' }}{{ '%}' }}{{ \"}}\" }}{% set x = '%}' %}{{ x }}",
    "{{ {'a': {'b': 1}}}}",
    "{{ {'a': {'b': 1}}['a']['b'] }}\n\n",
    "\n\n{{ 1 }}\n\n\n",
    "\u00a0{%- if true %}x{% endif -%}\u2003y",
    "a{# unclosed",
    "a{{ unclosed",
    "a{% if x",
    "{% raw %}abc",
    "}} %} #} { { % }",
    "{{-1}}|{{ -1 }}|{{+1}}",
    "line\n{{ 1 }}\n{% set a = 1 %}\n{{ a }}\nend",
    "{% set a = 1 -%}\n   {{ a }}\n{%- set b = 2 %}\n{{ b }}",
    # Set and scope
    "{% set a = 1 %}{% set b, c = 2, 3 %}{% set (e, (f, g)) = (4, (5, 6)) %}{{ a }}{{ b }}{{ c }}{{ e }}{{ f }}{{ g }}",
    "{% set a, b = 1 %}",
    "{% set a, b = [1, 2, 3] %}",
    "{% set a, b = [1] %}",
    "{% set x = 1, %}{{ x }}",
    "{% set x %}a{{ n }}b{% endset %}[{{ x }}]",
    "{% set x | upper | replace('A', 'z') %}a{{ n }}b{% endset %}[{{ x }}]",
    "{% set x = 1 %}{% for i in xs %}{% set x = i %}{{ x }}{% endfor %}{{ x }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% for i in xs %}{{ x is defined }}{% set x = i %}{% endfor %}",
    "{% set ns = namespace(x=1) %}{% for i in xs %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{{ ns }}",
    "{% set ns = namespace() %}{% set ns.text %}body{% endset %}{{ ns.text }}",
    "{% set d.x = 1 %}",
    "{% set missing.x = 1 %}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set ns = namespace() %}{{ ns.x.y }}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% with a=1, b=n %}{{ a + b }}{% with a=2 %}{{ a }}{% endwith %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% set a = 5 %}{% with a=1, b=a %}{{ b }}{% endwith %}",
    "{% set true = 1 %}",
    "{% set 1 = 1 %}",
    "{% set a.b.c = 1 %}",
    "{% set a = %}",
    # If
    "{% if n > 100 %}a{% elif n > 40 %}b{% elif true %}c{% else %}d{% endif %}",
    "{% if missing %}a{% else %}b{% endif %}",
    "{% if xs, 1 %}t{% endif %}",
    "{% if n %}a",
    "{% if n %}a{% endfor %}",
    "{% if %}a{% endif %}",
    "{% else %}",
    "{% endif %}",
    "{% if n: %}a{% endif %}",
    # For
    "{% for x in xs %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in [] %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in missing %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in n %}{{ x }}{% endfor %}",
    "{% for x in none %}{{ x }}{% endfor %}",
    "{% for x in xs if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% endfor %}",
    "{% for x in xs if x > 10 %}{% else %}none{% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d %}{{ k }}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for c in 'héy' %}{{ c }}-{% endfor %}",
    "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}",
    "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for x in xs %}{{ loop.previtem|default('-') }}<{{ x }}>{{ loop.nextitem|default('-') }} {% endfor %}",
    "{% for x in xs %}{{ loop.cycle('a', 'b') }}{% endfor %}{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}",
    "{% for x in xs %}{{ loop.cycle() }}{% endfor %}",
    "{% for x in xs %}{% for y in words %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in xs %}{{ loop.nope is defined }}{% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}E{% endfor %}",
    "{% for x in xs %}{% for y in xs %}{% if y == 1 %}{% break %}{% endif %}{{ y }}{% endfor %};{% endfor %}",
    "{% break %}",
    "{% for x in xs recursive %}{{ x }}{% endfor %}{% for x in [[1, [2]], [3]] recursive %}({{ loop(x) if x is iterable else x }}){% endfor %}",
    "{% for x in xs %}{{ loop(xs) }}{% endfor %}",
    "{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}{{ loop(x) }}{% else %}{{ loop.depth }}:{{ x }} {% endif %}{% endfor %}",
    "{% for loop in xs %}{% endfor %}",
    "{% for x in xs|sort|reverse %}{{ x }}{% endfor %}",
    "{% for x in xs %}{{ loop }}{% endfor %}",
    "{% for p in people|selectattr('age', 'gt', 30) %}{{ p.name }}{{ loop.last }}{% endfor %}",
    "{% for x in range(3) %}{% set y = x %}{% endfor %}{{ y is defined }}{{ x is defined }}",
    "{% for x in xs %}{{ x }}{% endfor %}{{ loop is defined }}",
    "{% for x.y in xs %}{% endfor %}",
    "{% for x in %}{% endfor %}",
    "{% for in xs %}{% endfor %}",
    "{% for x xs %}{% endfor %}",
    "{% for x in xs if x is odd else 3 %}{% endfor %}",
    "{% for x in (xs if t else []) %}{{ x }}{% endfor %}",
    # Macros and calls
    "{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=1) }} {{ m(1, c='x') }} {{ m() }}",
    "{% macro m(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ m() }}{{ m(none) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}{{ m() }}",
    "{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}",
    "{% macro m(a, a2=1, b) %}{% endmacro %}",
    "{% set g = 1 %}{% macro m() %}{{ g }}{% set g = 5 %}{{ g }}{% endmacro %}{{ m() }}{% set g = 2 %}{{ m() }}{{ g }}",
    "{% for i in xs %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}{{ m is defined }}",
    "{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(4) }}",
    "{{ m is defined }}{% macro m() %}x{% endmacro %}{{ m is defined }}{{ m.name }}",
    "{% macro m() %}  x  {% endmacro %}[{{ m()|trim }}][{{ m() }}]{{ m()|length }}",
    "{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{{ inner() }}{% endmacro %}{{ outer() }}",
    "{% macro w(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call w('b') %}body {{ n }}{% endcall %}",
    "{% macro w() %}{% for x in xs %}{{ caller(x, x * 2) }};{% endfor %}{% endmacro %}{% call(a, b=9) w() %}{{ a }}+{{ b }}{% endcall %}",
    "{% macro w() %}{{ caller is defined }}{% endmacro %}{{ w() }}",
    "{% macro w() %}x{% endmacro %}{% call w() %}y{% endcall %}",
    "{% macro w(caller=none) %}{{ caller() if caller else 'no' }}{% endmacro %}{{ w() }}{% call w() %}y{% endcall %}",
    "{% macro w() %}{{ caller() }}{% endmacro %}{% call w() %}{% call w() %}in{% endcall %}{% endcall %}",
    "{% macro w() %}{% set x = 1 %}{{ caller() }}{% endmacro %}{% set x = 5 %}{% call w() %}{{ x }}{% endcall %}",
    "{% call n %}{% endcall %}",
    "{% call s.upper() %}{% endcall %}",
    "{% macro m() %}{{ nope.x }}{% endmacro %}ok",
    "{% macro m(d={}) %}{{ d.x|default('none') }}{% endmacro %}{{ m() }}{{ m({'x': 1}) }}",
    "{% macro loopy() %}{% for x in xs %}{{ loop.index }}{% endfor %}{% endmacro %}{% for y in words %}{{ loopy() }}{{ loop.index }}|{% endfor %}",
    # Filter blocks, generation, print, unknown tags
    "{% filter upper %}a{{ n }}b{% endfilter %}",
    "{% filter replace('a', 'b')|upper %}banana{% endfilter %}",
    "{% filter trim %}{% set q = 1 %} x {% endfilter %}{{ q is defined }}",
    "{% generation %}a{% set x = 1 %}{% endgeneration %}b{{ x is defined }}",
    "{%- generation -%} a {%- endgeneration -%} b",
    "{% print n, s %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% nope %}",
    "{% do xs.append(1) %}",
    "{% %}",
    "{% 5 %}",
    "{% if t %}{% nope %}{% endif %}",
    "{{ }}",
    "{{ n",
    "{% endgeneration %}",
    "{{ n }} {{ 'a' }} {{ none }} {{ true }} {{ 1.0 }} {{ [] }} {{ {} }} {{ () }} {{ (1,) }}",
    "{{ 1, 2 }}",
    "{% set x = namespace(v=namespace(w=1)) %}{{ x.v.w }}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}",
    "{% set j = joiner() %}{{ j() }}a{{ j() }}b{{ j() }}",
    "{% set it = xs|map('string') %}{{ it|first }}{{ it|join(',') }}|{{ it|list }}",
    "{% set it = xs|select %}{% for x in it %}{{ x }}{% endfor %}{% for x in it %}{{ x }}{% else %}spent{% endfor %}",
    "{% set it = xs|reverse %}{{ 1 in it }}{{ it|list }}",
    "{% for x in d|items %}{{ x[0] }}{% endfor %}",
    "{% for x in xs|batch(2) %}{{ loop.index }}{{ x }}{{ loop.last }}{% endfor %}",
    "{{ 'a' if n else raise_exception('x') }}{{ raise_exception('now ' ~ n) if n == 42 }}",
    "{% if n %}{{ raise_exception('bad\nline') }}{% endif %}",
    "{{ raise_exception({'a': 1}) }}",
    "{% set x = 'a' %}{% set x = x ~ 'b' %}{% set x = x + 'c' %}{{ x }}",
    "{% set messages = [1, 2, 3] %}{% set messages = messages[1:] %}{{ messages }}{{ messages|length }}",
    "{{ xs is iterable and xs is not string and xs is not mapping }}",
    "{{ (people|selectattr('name', 'equalto', 'bob')|list)[-1].age }}",
    "{{ people|map(attribute='name')|join(', ') ~ '.' }}",
    "{% set q %}{% for p in people %}{{ p.name }}{{ ', ' if not loop.last }}{% endfor %}{% endset %}{{ q|upper }}",
]


def write_goldens():
    def save(name, value):
        path = GOLDENS / name
        path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
        print(f"{path}: {path.stat().st_size} bytes")

    sources = {path.stem: path.read_bytes().decode() for path in sorted(GOLDENS.glob("*.jinja"))}
    expected = [{"template": stem, "case": case["name"], **render(source, case)} for stem, source in sources.items() for case in CASES]
    marked = [
        {"template": stem, "case": case["name"], **generation_ranges(source, case)}
        for stem, source in sources.items()
        if "{% generation %}" in source
        for case in CASES
        if "output" in render(source, case)
    ]
    save("conversations.json", {"tokens": TOKENS, "cases": CASES, "expected": expected, "marked": marked})
    cases = []
    for expression in EXPRESSIONS:
        # Every expression is rendered twice over: known when the template is compiled, and not.
        cases.append({"source": "{{ (%s,)|string if t }}" % expression if ", " in expression and "\n" not in expression else "{{ %s }}" % expression})
    cases += [{"source": source} for source in STATEMENTS]
    for case in cases:
        case.update(outcome(case["source"], VARIABLES))
    save("expressions.json", {"variables": VARIABLES, "cases": cases})
    fails = sum("output" not in case for case in cases)
    print(f"{len(sources)} templates, {len(expected)} renderings ({sum('output' not in e for e in expected)} fail), {len(marked)} marked")
    print(f"{len(cases)} small cases ({fails} fail)")


def print_gguf(path):
    from gguf import GGUFReader

    source = GGUFReader(path).fields["tokenizer.chat_template"].contents()
    print(json.dumps({"template": source, "expected": [{"case": case["name"], **render(source, case)} for case in CASES]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", help="a model whose template to render instead")
    arguments = parser.parse_args()
    if arguments.gguf:
        print_gguf(arguments.gguf)
    else:
        write_goldens()
