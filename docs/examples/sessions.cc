// SPDX-License-Identifier: Apache-2.0
// C++: the chunks of a session, written and read back as one packed buffer.
//
//   c++ sessions.cc $(pkg-config --cflags --libs skerry)
#include <skerry/skerry.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

struct closer {
    void operator()(skerry *s) const
    {
        skerry_close(s);
    }
};

static skerry_slice slice(const std::string &s)
{
    return { s.data(), s.size() };
}

int main()
{
    skerry_options options = skerry_options_default();
    options.route_mode = SKERRY_ROUTE_SESSION_PREFIX; // a session's single keys live beside its pack
    skerry *opened = nullptr;
    if (skerry_open(&opened, &options) != SKERRY_OK)
        return 1;
    std::unique_ptr<skerry, closer> store(opened);

    const std::string session = "s:42", names[] = { "0", "1", "2" }, values[] = { "first", "second", "third" };
    std::vector<skerry_chunk> chunks;
    for (int i = 0; i < 3; i++)
        chunks.push_back({ slice(names[i]), slice(values[i]) });
    if (skerry_session_put(store.get(), session.data(), session.size(), chunks.data(), chunks.size(), SKERRY_NO_TTL) != SKERRY_OK)
        return 1;

    char buffer[64];
    std::size_t offsets[8], lengths[8], count = 8;
    skerry_packed packed = { buffer, sizeof buffer, offsets, lengths, 0, 0 };
    if (skerry_session_get(store.get(), session.data(), session.size(), &count, &packed) != SKERRY_OK)
        return 1;
    for (std::size_t i = 0; i < count; i++)
        std::printf("%zu: %.*s\n", i, static_cast<int>(lengths[i]), buffer + offsets[i]);
    return count == 3 && packed.used == 16 ? 0 : 1;
}
