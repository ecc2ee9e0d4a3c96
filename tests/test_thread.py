async def test_the_library_loads_when_absent(connection):
    assert await connection.read("version", "glide:{q}") == b"gmq1"
