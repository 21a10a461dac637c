// Wraps every BIO callback that the worker installs (linked with --wrap=BIO_set_callback_ex).
//
// OpenSSL calls a BIO callback before and after an operation, and what it returns afterwards
// replaces the operation's own result. The worker's callback then returns 1 for all of them, also
// for control operations that ask a question. An OpenSSL built with kernel TLS asks such a BIO
// whether the kernel encrypts, takes 1 for yes and crashes in the first DTLS handshake. This
// wrapper lets the worker's callback see every call but leaves results as they are.
#include <openssl/bio.h>

extern "C" void __real_BIO_set_callback_ex(BIO* bio, BIO_callback_fn_ex callback);

namespace
{
	int callbackIndex()
	{
		static const int index = BIO_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);

		return index;
	}

	long keepResult(
	  BIO* bio,
	  int operation,
	  const char* argp,
	  size_t len,
	  int argi,
	  long argl,
	  int result,
	  size_t* processed)
	{
		const auto callback = reinterpret_cast<BIO_callback_fn_ex>(BIO_get_ex_data(bio, callbackIndex()));
		const long answer =
		  callback ? callback(bio, operation, argp, len, argi, argl, result, processed) : result;

		return (operation & BIO_CB_RETURN) ? result : answer;
	}
} // namespace

extern "C" void __wrap_BIO_set_callback_ex(BIO* bio, BIO_callback_fn_ex callback)
{
	const bool kept =
	  callback && BIO_set_ex_data(bio, callbackIndex(), reinterpret_cast<void*>(callback)) == 1;

	// Without a place for the callback it is installed as it came, which is no worse than before.
	__real_BIO_set_callback_ex(bio, kept ? keepResult : callback);
}
