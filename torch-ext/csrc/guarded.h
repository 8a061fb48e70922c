// What every function of the C interface shares: exceptions become an error code and a message.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

inline thread_local std::string last_error;

inline std::vector<at::Tensor> collect(size_t n, at::Tensor* const* tensors) {
  std::vector<at::Tensor> collected;
  collected.reserve(n);
  for (size_t i = 0; i < n; i++) collected.push_back(*tensors[i]);
  return collected;
}

template <class Body>
int guarded_with_gradients(Body body) {
  try {
    body();
    return 0;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
    return 1;
  } catch (const std::exception& error) {
    last_error = error.what();
    return 1;
  }
}

template <class Body>
int guarded(Body body) {
  at::NoGradGuard no_grad;
  return guarded_with_gradients(body);
}
