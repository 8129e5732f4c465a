"""Field tables and property lists are verified completely, whatever octets they are."""

import datetime
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import encode
from pamqp.commands import Basic
from pamqp.common import FieldValue
from pamqp.header import ContentHeader

from leveret.engine.values import encoded_table
from leveret.limits import TABLE_DEPTH_MAX, TABLE_ENTRIES_MAX
from tests.support.examples import examples
from tests.unit.protocol.wire import octets

EPOCH = datetime.datetime(1970, 1, 1)
HEADER_PREFIX_BYTES = 12

texts = st.none() | st.text(min_size=1, max_size=60)
"""At most 240 octets: pamqp encodes each as a short string, and leaves an empty one out."""

headers = st.dictionaries(
    st.text(max_size=20),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.text(max_size=20),
        st.lists(st.text(max_size=5), max_size=3),
        st.dictionaries(st.text(max_size=5), st.booleans(), max_size=2),
    ),
    max_size=4,
)

properties = st.builds(
    Basic.Properties,
    content_type=texts,
    content_encoding=texts,
    headers=st.none() | headers,
    delivery_mode=st.sampled_from([None, 1, 2]),
    priority=st.none() | st.integers(0, 255),
    correlation_id=texts,
    reply_to=texts,
    expiration=texts,
    message_id=texts,
    timestamp=st.none() | st.datetimes(min_value=EPOCH),
    message_type=texts,
    user_id=texts,
    app_id=texts,
)

full_properties = Basic.Properties(
    content_type="text/plain",
    content_encoding="gzip",
    headers={"number": 1, "nested": {"list": [True, None]}},
    delivery_mode=2,
    priority=7,
    correlation_id="c",
    reply_to="r",
    expiration="60000",
    message_id="m",
    timestamp=EPOCH,
    message_type="t",
    user_id="u",
    app_id="a",
)


def property_list(values: Basic.Properties) -> bytes:
    """Flags and properties as pamqp writes them, behind the first part of a content header."""
    return ContentHeader(properties=values).marshal()


def end_of_table(data: bytes) -> int | None:
    """The position behind the table `data` begins with, None where it is refused."""
    try:
        return encoded_table.check_table(data, 0, len(data))
    except ValueError:
        return None


def flags_of_list(data: bytes) -> int | None:
    """The flags of the property list `data` is, None where it is refused."""
    try:
        return encoded_table.check_properties(data, 0, len(data))
    except ValueError:
        return None


class TestFieldTables:
    @given(octets.tables, st.binary(max_size=5), st.binary(max_size=5))
    @settings(deadline=None)
    def test_a_table_of_the_grammar_ends_where_its_length_says(
        self, table: bytes, before: bytes, behind: bytes
    ) -> None:
        data = before + table + behind
        end = len(before) + len(table)
        assert encoded_table.check_table(data, len(before), len(data)) == end
        assert encoded_table.check_table(data, len(before), end) == end

    @given(octets.tables)
    @settings(deadline=None)
    def test_a_table_cut_anywhere_is_refused(self, table: bytes) -> None:
        for stop in range(len(table)):
            with pytest.raises(ValueError, match="in field table"):
                encoded_table.check_table(table, 0, stop)

    @given(octets.values, st.integers(1, 8))
    @settings(deadline=None)
    def test_a_table_shorter_than_its_last_value_is_refused(self, value: bytes, less: int) -> None:
        entry = octets.short_string(b"name") + value
        table = octets.long_string(entry[: max(1, len(entry) - less)]) + entry
        with pytest.raises(ValueError, match="in field table"):
            encoded_table.check_table(table, 0, len(table))

    @given(st.binary(max_size=40))
    @settings(deadline=None, max_examples=examples(300))
    def test_any_octets_are_a_table_or_a_value_error(self, body: bytes) -> None:
        table = octets.long_string(body)
        end = end_of_table(table)
        assert end is None or end == len(table)

    @given(octets.tables, st.data())
    @settings(deadline=None)
    def test_a_table_with_one_octet_changed_is_a_table_or_a_value_error(
        self, table: bytes, data: st.DataObject
    ) -> None:
        changed = bytearray(table)
        changed[data.draw(st.integers(0, len(table) - 1))] = data.draw(st.integers(0, 255))
        end = end_of_table(bytes(changed))
        assert end is None or end <= len(changed)

    def test_every_octet_that_is_no_type_letter_is_refused(self) -> None:
        letters = {*octets.FIXED, "S", "x", "F", "A"}
        for letter in range(256):
            table = octets.table((b"k", bytes((letter,)) + bytes(8)))
            if chr(letter) not in letters:
                with pytest.raises(ValueError, match=r"unknown type b.+ in field table"):
                    encoded_table.check_table(table, 0, len(table))

    @pytest.mark.parametrize("nested", [octets.nested_table, octets.nested_array])
    def test_nesting_is_accepted_to_the_limit_and_refused_behind_it(
        self, nested: octets.Nesting
    ) -> None:
        deepest = nested(TABLE_DEPTH_MAX)
        assert encoded_table.check_table(deepest, 0, len(deepest)) == len(deepest)
        too_deep = nested(TABLE_DEPTH_MAX + 1)
        with pytest.raises(ValueError, match="deeper than"):
            encoded_table.check_table(too_deep, 0, len(too_deep))

    def test_nesting_of_a_whole_frame_is_refused_without_recursing_into_it(self) -> None:
        table = octets.nested_table(15_000)
        with pytest.raises(ValueError, match="deeper than"):
            encoded_table.check_table(table, 0, len(table))

    def test_entries_are_accepted_to_the_limit_and_refused_behind_it(self) -> None:
        full = octets.table(*[(b"", b"V")] * TABLE_ENTRIES_MAX)
        assert encoded_table.check_table(full, 0, len(full)) == len(full)
        too_full = octets.table(*[(b"", b"V")] * (TABLE_ENTRIES_MAX + 1))
        with pytest.raises(ValueError, match="more than"):
            encoded_table.check_table(too_full, 0, len(too_full))

    def test_entries_of_nested_tables_and_arrays_count_together(self) -> None:
        array = (b"a", b"A" + octets.long_string(b"V" * (TABLE_ENTRIES_MAX // 2)))
        one, two = octets.table(array), octets.table(array, array)
        assert encoded_table.check_table(one, 0, len(one)) == len(one)
        with pytest.raises(ValueError, match="more than"):
            encoded_table.check_table(two, 0, len(two))


class TestTypesOfATable:
    def test_each_type_has_the_name_that_rabbitmq_prints(self) -> None:
        names = {
            "t": "bool",
            "b": "byte",
            "B": "unsignedbyte",
            "s": "short",
            "u": "unsignedshort",
            "I": "signedint",
            "i": "unsignedint",
            "l": "long",
            "L": "long",
            "f": "float",
            "d": "double",
            "D": "decimal",
            "T": "timestamp",
            "V": "void",
            "S": "longstr",
            "x": "binary",
            "F": "table",
            "A": "array",
        }
        values = {letter: letter.encode() + bytes(octets.FIXED.get(letter, 4)) for letter in names}
        table = octets.table(*[(letter.encode(), value) for letter, value in values.items()])
        assert encoded_table.check_table(table, 0, len(table)) == len(table)
        assert encoded_table.table_types(table, 0) == names

    @given(headers)
    @settings(deadline=None)
    def test_they_have_the_names_of_the_table_and_not_of_those_nested_in_it(
        self, values: dict[str, FieldValue]
    ) -> None:
        table = encode.field_table(values)
        assert encoded_table.table_types(b"ab" + table, 2).keys() == values.keys()

    def test_a_name_that_is_not_utf8_reads_with_question_marks(self) -> None:
        table = octets.table((b"a\xff\xc3", b"V"), ("ü".encode(), b"V"))
        assert encoded_table.table_types(table, 0) == {"a??": "void", "ü": "void"}

    @given(st.binary(max_size=20))
    def test_a_name_reads_as_text_of_as_many_octets(self, octets: bytes) -> None:
        assert len(encoded_table.name_text(octets).encode()) == len(octets)


class TestPropertyLists:
    @given(properties, st.binary(max_size=5))
    @settings(deadline=None)
    def test_flags_and_places_are_those_pamqp_wrote(
        self, values: Basic.Properties, behind: bytes
    ) -> None:
        header = property_list(values)
        flags = encoded_table.check_properties(header + behind, HEADER_PREFIX_BYTES, len(header))
        assert flags == int.from_bytes(header[12:14], "big")
        pos = HEADER_PREFIX_BYTES + 2
        for name in values.attributes():
            value = getattr(values, name)
            if flags & values.flags[name]:
                place = encoded_table.property_offset(
                    header, HEADER_PREFIX_BYTES, flags, values.flags[name]
                )
                assert place == pos
                pos += len(values.encode_property(name, value))
            else:
                assert not value or name == "cluster_id"
        assert pos == len(header)

    @given(properties)
    @settings(deadline=None)
    def test_the_delivery_mode_is_found_behind_whatever_precedes_it(
        self, values: Basic.Properties
    ) -> None:
        header = property_list(values)
        flags = encoded_table.check_properties(header, HEADER_PREFIX_BYTES, len(header))
        mode = encoded_table.delivery_mode(header, HEADER_PREFIX_BYTES, flags)
        assert mode == (values.delivery_mode or 0)

    @given(properties)
    @settings(deadline=None)
    def test_a_list_cut_anywhere_is_refused(self, values: Basic.Properties) -> None:
        header = property_list(values)
        for stop in range(HEADER_PREFIX_BYTES, len(header)):
            with pytest.raises(ValueError, match=r"property|field table"):
                encoded_table.check_properties(header, HEADER_PREFIX_BYTES, stop)

    @given(properties, st.binary(min_size=1, max_size=5))
    @settings(deadline=None)
    def test_a_list_with_octets_left_over_is_refused(
        self, values: Basic.Properties, more: bytes
    ) -> None:
        header = property_list(values) + more
        with pytest.raises(ValueError, match="wrong length"):
            encoded_table.check_properties(header, HEADER_PREFIX_BYTES, len(header))

    @pytest.mark.parametrize("data", [b"\x00\x00\x02", b"\x10\x00", b"\x10\x00\x02\x00"])
    def test_the_shortest_lists_are_held_to_their_length_too(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="wrong length"):
            encoded_table.check_properties(data, 0, len(data))

    @given(st.binary(max_size=60))
    @settings(deadline=None, max_examples=examples(300))
    def test_any_octets_are_a_list_or_a_value_error(self, octets: bytes) -> None:
        assert flags_of_list(octets) in (None, int.from_bytes(octets[:2], "big"))

    @given(st.integers(0, len(property_list(full_properties)) - 13), st.integers(0, 255))
    def test_a_list_with_one_octet_changed_is_a_list_or_a_value_error(
        self, pos: int, octet: int
    ) -> None:
        changed = bytearray(property_list(full_properties)[HEADER_PREFIX_BYTES:])
        changed[pos] = octet
        assert flags_of_list(bytes(changed)) in (None, int.from_bytes(changed[:2], "big"))

    def test_a_second_word_of_flags_is_refused(self) -> None:
        for flags in (0x0001, 0x1001, 0xFFFF):
            data = struct.pack(">HH", flags, 0)
            with pytest.raises(ValueError, match="more than one word"):
                encoded_table.check_properties(data, 0, len(data))

    def test_the_flag_that_means_nothing_is_ignored(self) -> None:
        assert encoded_table.check_properties(b"\x00\x02", 0, 2) == 2
        assert encoded_table.check_properties(b"\x10\x02\x01", 0, 3) == 0x1002

    def test_text_that_is_not_utf8_is_accepted(self) -> None:
        assert (
            encoded_table.check_properties(b"\x80\x00\x01\xff", 0, 4) == encoded_table.CONTENT_TYPE
        )

    def test_the_flags_are_those_of_pamqp(self) -> None:
        assert Basic.Properties.flags == {
            "content_type": encoded_table.CONTENT_TYPE,
            "content_encoding": encoded_table.CONTENT_ENCODING,
            "headers": encoded_table.HEADERS,
            "delivery_mode": encoded_table.DELIVERY_MODE,
            "priority": encoded_table.PRIORITY,
            "correlation_id": encoded_table.CORRELATION_ID,
            "reply_to": encoded_table.REPLY_TO,
            "expiration": encoded_table.EXPIRATION,
            "message_id": encoded_table.MESSAGE_ID,
            "timestamp": encoded_table.TIMESTAMP,
            "message_type": encoded_table.MESSAGE_TYPE,
            "user_id": encoded_table.USER_ID,
            "app_id": encoded_table.APP_ID,
            "cluster_id": encoded_table.CLUSTER_ID,
        }
