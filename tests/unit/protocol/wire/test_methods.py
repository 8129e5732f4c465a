"""Methods and content headers become values and octets again, and no octets do any harm."""

import datetime
import decimal
import struct
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.base import Frame
from pamqp.commands import INDEX_MAPPING, Basic, Channel, Connection, Queue
from pamqp.common import FieldValue

from leveret.engine.values import encoded_table
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import TABLE_DEPTH_MAX, TABLE_ENTRIES_MAX
from leveret.protocol.wire import methods
from tests.support.examples import examples
from tests.unit.protocol.wire import octets

every_method = pytest.mark.parametrize(
    "method_class",
    [*INDEX_MAPPING.values(), methods.AccessRequest, methods.AccessRequestOk],
    ids=lambda method: method.name,
)

instants = st.datetimes(
    datetime.datetime(1970, 1, 1), datetime.datetime(2106, 1, 1), timezones=st.just(datetime.UTC)
).map(lambda instant: instant.replace(microsecond=0))
"""As a timestamp of 32 bits holds them: pamqp takes greater ones for milliseconds."""

short_texts = st.text(max_size=63)
"""At most 252 octets."""

field_values: st.SearchStrategy[FieldValue] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(max_size=10),
        st.just(b"\xff not UTF-8"),
        st.binary(max_size=10).map(bytearray),
        st.decimals(-1000, 1000, places=3),
        instants,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)

field_tables = st.dictionaries(short_texts, field_values, max_size=4)

KINDS: Mapping[str, st.SearchStrategy[FieldValue]] = {
    "bit": st.booleans(),
    "octet": st.integers(0, 2**8 - 1),
    "short": st.integers(0, 2**16 - 1),
    "long": st.integers(0, 2**32 - 1),
    "longlong": st.integers(-(2**63), 2**63 - 1),
    "shortstr": short_texts,
    "longstr": st.text(max_size=300) | st.just(b"\xff not UTF-8"),
    "table": field_tables,
    "timestamp": instants,
}

EXAMPLES: Mapping[str, FieldValue] = {
    "bit": True,
    "octet": 200,
    "short": 60_000,
    "long": 4_000_000_000,
    "longlong": 2**62,
    "shortstr": "Name mit Umläuten",
    "longstr": "text",
    "table": {"name": {"nested": [True, 1, "two", None]}},
}


def built(method_class: type[Frame], values: Mapping[str, FieldValue]) -> Frame:
    """A method without what pamqp's constructors check and warn of."""
    method = method_class.__new__(method_class)
    for name, value in values.items():
        setattr(method, name, value)
    return method


def example(method_class: type[Frame]) -> Frame:
    """A method with something in every field."""
    kinds = {name: method_class.amqp_type(name) for name in method_class.attributes()}
    return built(method_class, {name: EXAMPLES[kind] for name, kind in kinds.items()})


def payload_of(method: Frame) -> bytes:
    """The payload of the frame of a method."""
    return methods.encode(method, 1)[7:-1]


def refusal(payload: bytes) -> AmqpError | None:
    """The error that decoding raises, None where it decodes; any other exception passes."""
    try:
        methods.decode(payload)
    except AmqpError as error:
        return error
    return None


@st.composite
def any_method(draw: st.DrawFn) -> Frame:
    """Any method with any values."""
    method_class = draw(st.sampled_from(methods.METHODS))
    values = {name: draw(KINDS[method_class.amqp_type(name)]) for name in method_class.attributes()}
    return built(method_class, values)


def start_ok(client_properties: bytes) -> bytes:
    """The payload of a connection.start-ok with these octets as its client properties."""
    return (
        struct.pack(">HH", 10, 11)
        + client_properties
        + octets.short_string(b"PLAIN")
        + octets.long_string(b"\x00guest\x00guest")
        + octets.short_string(b"en_US")
    )


class TestRoundTrip:
    @every_method
    def test_every_method_reads_as_it_was_written(self, method_class: type[Frame]) -> None:
        written = example(method_class)
        read = methods.decode(payload_of(written))
        assert type(read) is method_class
        for name in method_class.attributes():
            reserved = (method_class, name) == (Channel.OpenOk, "channel_id")
            assert read[name] == ("" if reserved else written[name])

    @given(any_method())
    @settings(deadline=None, max_examples=examples(300))
    def test_any_values_read_as_they_were_written(self, written: Frame) -> None:
        read = methods.decode(payload_of(written))
        if not isinstance(written, Channel.OpenOk):
            assert dict(read) == dict(written)

    @every_method
    def test_a_frame_has_the_ids_and_the_channel_of_its_method(
        self, method_class: type[Frame]
    ) -> None:
        method = example(method_class)
        frame = methods.encode(method, 65_535)
        kind, channel, size, *ids = struct.unpack_from(">BHIHH", frame)
        assert (kind, channel, size) == (1, 65_535, len(frame) - 8)
        assert tuple(ids) == divmod(method.index, 1 << 16)
        assert frame[-1] == 0xCE

    def test_the_octets_are_those_of_rabbitmq(self) -> None:
        assert payload_of(Channel.OpenOk()) == bytes.fromhex("0014000b 00000000")
        assert payload_of(Connection.OpenOk()) == bytes.fromhex("000a0029 00")
        assert payload_of(methods.AccessRequestOk()) == bytes.fromhex("001e000b 0001")

    def test_bits_of_a_method_share_an_octet(self) -> None:
        declare = built(
            Queue.Declare,
            {
                "ticket": 0,
                "queue": "q",
                "passive": False,
                "durable": True,
                "exclusive": False,
                "auto_delete": False,
                "nowait": True,
                "arguments": {},
            },
        )
        assert payload_of(declare)[4:] == b"\x00\x00\x01q\x12\x00\x00\x00\x00"

    def test_unused_bits_are_ignored(self) -> None:
        read = methods.decode(bytes.fromhex("0032000a 0000 00 ff 00000000"))
        assert isinstance(read, Queue.Declare)
        assert read.nowait is True

    @pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "队" * 85, "with space\r\n", "#*!"])
    def test_names_of_any_script_are_written_to_255_octets(self, name: str) -> None:
        answer = Queue.DeclareOk(queue="", message_count=1, consumer_count=2)
        answer.queue = name
        read = methods.decode(payload_of(answer))
        assert isinstance(read, Queue.DeclareOk)
        assert read.queue == name

    @pytest.mark.parametrize(
        ("text", "cut_at"), [("x" * 300, 255), ("ü" * 200, 127), ("队" * 90, 85)]
    )
    def test_a_longer_short_string_is_cut_between_characters(self, text: str, cut_at: int) -> None:
        close = Channel.Close(reply_code=404, reply_text=text, class_id=60, method_id=40)
        read = methods.decode(payload_of(close))
        assert isinstance(read, Channel.Close)
        assert read.reply_text == text[:cut_at]

    def test_what_was_left_out_is_written_empty(self) -> None:
        read = methods.decode(payload_of(Connection.Secure()))
        assert isinstance(read, Connection.Secure)
        assert read.challenge == ""

    def test_a_long_string_has_its_octets_whether_or_not_they_are_utf8(self) -> None:
        for response in (b"\x00guest\x00g\xfcst", b"\x00guest\x00gu\xc3\xa9st"):
            payload = struct.pack(">HH", 10, 21) + octets.long_string(response)
            read = methods.decode(payload)
            assert isinstance(read, Connection.SecureOk)
            assert methods.octets(read.response) == response
        assert methods.octets(None) == b""


class TestRefusal:
    @every_method
    def test_a_method_cut_anywhere_is_refused(self, method_class: type[Frame]) -> None:
        payload = payload_of(example(method_class))
        for stop in range(len(payload)):
            error = refusal(payload[:stop])
            assert error is not None, stop
            assert error.code == ReplyCode.FRAME_ERROR
            assert error.text.startswith("cannot decode <<")

    @every_method
    def test_a_method_an_octet_too_long_is_refused(self, method_class: type[Frame]) -> None:
        error = refusal(payload_of(example(method_class)) + b"\x00")
        assert error is not None
        assert error.code == ReplyCode.FRAME_ERROR

    def test_the_text_shows_the_arguments_as_rabbitmq_does(self) -> None:
        error = refusal(bytes.fromhex("003c000a 00000000 0000 00 09"))
        assert str(error) == "FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0,9>>"

    def test_a_method_that_does_not_exist_is_refused(self) -> None:
        for ids in ((60, 99), (61, 10), (0, 0), (65_535, 65_535)):
            error = refusal(struct.pack(">HH", *ids))
            assert str(error) == "COMMAND_INVALID - unimplemented method"

    def test_a_short_string_that_is_not_utf8_is_refused(self) -> None:
        error = refusal(bytes.fromhex("0032000a 0000 01ff 00 00000000"))
        assert str(error) == "FRAME_ERROR - Malformed UTF-8 in shortstr"

    def test_a_malformed_table_is_refused_with_the_name_of_the_method(self) -> None:
        error = refusal(start_ok(octets.table((b"k", b"Z"))))
        assert str(error) == "SYNTAX_ERROR - connection.start-ok: unknown type b'Z' in field table"

    def test_tables_beyond_the_limits_are_refused(self) -> None:
        for table in (
            octets.nested_table(TABLE_DEPTH_MAX + 1),
            octets.nested_table(15_000),
            octets.nested_array(TABLE_DEPTH_MAX + 1),
            octets.table(*[(b"", b"V")] * (TABLE_ENTRIES_MAX + 1)),
        ):
            error = refusal(start_ok(table))
            assert error is not None
            assert error.code == ReplyCode.SYNTAX_ERROR

    def test_tables_at_the_limits_are_accepted(self) -> None:
        for table in (
            octets.nested_table(TABLE_DEPTH_MAX),
            octets.nested_array(TABLE_DEPTH_MAX),
            octets.table(*[(b"", b"V")] * TABLE_ENTRIES_MAX),
        ):
            assert refusal(start_ok(table)) is None

    @given(st.sampled_from(methods.METHODS), st.binary(max_size=60))
    @settings(deadline=None, max_examples=examples(300))
    def test_any_arguments_are_a_method_or_an_amqp_error(
        self, method_class: type[Frame], arguments: bytes
    ) -> None:
        payload = struct.pack(">I", method_class.index) + arguments
        error = refusal(payload)
        assert error is None or error.closes_connection

    @given(st.binary(max_size=60))
    @settings(deadline=None)
    def test_any_payload_is_a_method_or_an_amqp_error(self, payload: bytes) -> None:
        error = refusal(payload)
        assert error is None or error.closes_connection

    @given(any_method(), st.data())
    @settings(deadline=None, max_examples=examples(300))
    def test_a_method_with_octets_changed_is_a_method_or_an_amqp_error(
        self, method: Frame, data: st.DataObject
    ) -> None:
        changed = bytearray(payload_of(method))
        places = st.integers(4, max(4, len(changed) - 1))
        for pos in data.draw(st.lists(places, min_size=1, max_size=3)):
            changed[pos : pos + 1] = data.draw(st.binary(min_size=1, max_size=1))
        error = refusal(bytes(changed))
        assert error is None or error.closes_connection


class TestTablesThatRabbitmqAccepts:
    @given(octets.tables)
    @settings(deadline=None, max_examples=examples(150))
    def test_any_table_of_the_grammar_is_accepted(self, table: bytes) -> None:
        read = methods.decode(start_ok(table))
        assert isinstance(read, Connection.StartOk)
        assert read.client_properties.keys() == encoded_table.table_types(table, 0).keys()
        assert read.mechanism == "PLAIN"
        assert methods.octets(read.response) == b"\x00guest\x00guest"

    @pytest.mark.parametrize("seconds", [2**63, 2**64 - 1, 253_402_300_800_000])
    def test_a_timestamp_behind_the_year_9999_reads_as_its_end(self, seconds: int) -> None:
        stamp = b"T" + struct.pack(">Q", seconds)
        table = octets.table(
            (b"t", stamp), (b"n", b"F" + octets.table((b"t", stamp))), (b"s", b"t\x01")
        )
        read = methods.decode(start_ok(table))
        end = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
        assert isinstance(read, Connection.StartOk)
        assert read.client_properties == {"t": end, "n": {"t": end}, "s": True}

    def test_a_name_that_is_not_utf8_reads_with_question_marks(self) -> None:
        array = b"A" + octets.long_string(b"F" + octets.table((b"\xffa", b"V")))
        read = methods.decode(start_ok(octets.table((b"\xfc", array))))
        assert isinstance(read, Connection.StartOk)
        assert read.client_properties == {"?": [{"?a": None}]}

    def test_the_types_of_the_arguments_are_told(self) -> None:
        arguments = octets.table((b"x-expires", b"s\x00\x10"), (b"x-max-length", b"I" + bytes(4)))
        payload = struct.pack(">HHH", 50, 10, 0) + b"\x01q\x00" + arguments
        declare = methods.decode(payload)
        assert isinstance(declare, Queue.Declare)
        assert declare.arguments == {"x-expires": 16, "x-max-length": 0}
        assert methods.argument_types(payload, declare) == {
            "x-expires": "short",
            "x-max-length": "signedint",
        }

    def test_a_method_without_arguments_has_no_types(self) -> None:
        qos = Basic.Qos(prefetch_count=1)
        assert methods.argument_types(payload_of(qos), qos) == {}


class TestEncodedTables:
    @given(field_tables)
    @settings(deadline=None)
    def test_a_table_is_sound_and_has_a_type_for_each_value(
        self, table: dict[str, FieldValue]
    ) -> None:
        octets = methods.encode_table(table)
        assert encoded_table.check_table(octets, 0, len(octets)) == len(octets)
        types = encoded_table.table_types(octets, 0)
        assert types.keys() == table.keys()

    def test_numbers_and_strings_have_the_types_rabbitmq_writes(self) -> None:
        table: dict[str, FieldValue] = {
            "int": 1,
            "float": 0.1,
            "str": "s",
            "bytes": b"\xff",
            "bool": True,
            "decimal": decimal.Decimal("1.5"),
        }
        assert encoded_table.table_types(methods.encode_table(table), 0) == {
            "int": "long",
            "float": "double",
            "str": "longstr",
            "bytes": "longstr",
            "bool": "bool",
            "decimal": "decimal",
        }

    def test_a_value_no_type_fits_is_a_type_error(self) -> None:
        with pytest.raises(TypeError):
            methods.encode_table({"wide": 2**63})


properties = st.builds(
    Basic.Properties,
    **{
        name: st.none() | KINDS[kind]
        for name, _, kind in methods.PROPERTIES
        if name not in ("cluster_id", "delivery_mode")
    },
    delivery_mode=st.sampled_from([None, 1, 2]),
)


class TestContentHeaders:
    @given(properties, st.integers(0, 2**64 - 1))
    @settings(deadline=None)
    def test_properties_read_as_they_were_written(
        self, written: Basic.Properties, body_size: int
    ) -> None:
        header = methods.encode_header(written, body_size)
        assert struct.unpack_from(">HHQ", header) == (60, 0, body_size)
        assert methods.properties(header) == written

    def test_no_properties_are_no_octets(self) -> None:
        assert methods.encode_header(Basic.Properties(), 5) == bytes.fromhex(
            "003c 0000 0000000000000005 0000"
        )

    @pytest.mark.parametrize("seconds", [0, 1_700_000_000, 2**63 - 1])
    def test_a_timestamp_may_be_a_number_of_seconds(self, seconds: int) -> None:
        given = Basic.Properties()
        given.timestamp = seconds  # type: ignore[assignment]
        assert methods.encode_header(given, 0)[14:] == struct.pack(">Q", seconds)

    @given(st.binary(max_size=80))
    @settings(deadline=None, max_examples=examples(300))
    def test_any_octets_are_properties_or_an_amqp_error(self, octets: bytes) -> None:
        header = bytes(12) + octets
        try:
            encoded_table.check_properties(header, 12, len(header))
        except ValueError:
            with pytest.raises(AmqpError, match="SYNTAX_ERROR - malformed properties: "):
                methods.properties(header)
        else:
            assert isinstance(methods.properties(header), Basic.Properties)

    @given(st.integers(0, 0xFFFF).map(lambda flags: flags & 0xFFFE), st.data())
    @settings(deadline=None, max_examples=examples(300))
    def test_any_property_list_of_the_grammar_is_accepted(
        self, flags: int, data: st.DataObject
    ) -> None:
        header = bytes(12) + struct.pack(">H", flags)
        present = [(name, kind) for name, flag, kind in methods.PROPERTIES if flags & flag]
        for _, kind in present:
            if kind == "table":
                header += data.draw(octets.tables)
            elif kind == "shortstr":
                header += octets.short_string(data.draw(st.binary(max_size=255)))
            else:
                size = methods.FIXED_SIZES[kind]
                header += data.draw(st.binary(min_size=size, max_size=size))
        read = methods.properties(header)
        absent = {"cluster_id": ""}
        for name, _, _ in methods.PROPERTIES:
            if name in dict(present):
                assert read[name] is not None
            else:
                assert read[name] == absent.get(name)

    def test_what_pamqp_cannot_represent_reads_softened(self) -> None:
        flags = encoded_table.MESSAGE_ID | encoded_table.TIMESTAMP | encoded_table.HEADERS
        header = (
            bytes(12)
            + struct.pack(">H", flags)
            + octets.table((b"\xff", b"T" + b"\xff" * 8))
            + octets.short_string(b"id \xff")
            + b"\xff" * 8
        )
        read = methods.properties(header)
        end = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
        assert (read.headers, read.message_id, read.timestamp) == ({"?": end}, "id ?", end)


class TestNames:
    def test_methods_are_named_as_in_the_specification(self) -> None:
        assert methods.method_name(50, 10) == "queue.declare"
        assert methods.method_name(60, 71) == "basic.get-ok"
        assert methods.method_name(60, 100) == "basic.recover-async"
        assert methods.method_name(30, 11) == "access.request-ok"
        assert methods.method_name(60, 99) == "60.99"

    @every_method
    def test_a_method_has_the_ids_of_its_name(self, method_class: type[Frame]) -> None:
        name = methods.method_name(*divmod(method_class.index, 1 << 16))
        assert name.replace("-", "") == method_class.name.lower()
