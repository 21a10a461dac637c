// Offers the names of the unordered_dense library that mediasoup-worker uses, on top of the
// standard containers, for builds in which that library cannot be downloaded.
#ifndef MEDIASOUP_HORIZONTAL_UNORDERED_DENSE_H
#define MEDIASOUP_HORIZONTAL_UNORDERED_DENSE_H

#include <functional>
#include <unordered_map>
#include <unordered_set>

namespace ankerl::unordered_dense
{
	template<typename T>
	using hash = std::hash<T>;

	template<typename Key, typename Value, typename Hash = std::hash<Key>, typename Equal = std::equal_to<Key>>
	using map = std::unordered_map<Key, Value, Hash, Equal>;

	template<typename Key, typename Hash = std::hash<Key>, typename Equal = std::equal_to<Key>>
	using set = std::unordered_set<Key, Hash, Equal>;
} // namespace ankerl::unordered_dense

#endif
