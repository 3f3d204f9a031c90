//! One call from JavaScript: its arguments, and values to return. The only place that talks to Node-API
//! directly.

use napi::sys;
use std::{
    cell::Cell,
    ffi::c_void,
    panic, ptr,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    cache::Clock,
    error::{Error, Result},
    key::{self, ASCII_BYTES, Key, KeyList, KeyView},
    wtf8,
};

/// A JavaScript value, alive for as long as the call it belongs to.
pub type JsValue = sys::napi_value;

/// The most arguments that any function takes: `leaseSettle`.
pub const ARGUMENTS: usize = 9;

/// A call that is under way. Lives on the stack of the callback, so what it hands out cannot outlive that.
pub struct Call {
    env: sys::napi_env,
    name: &'static str,
    arguments: [JsValue; ARGUMENTS],
}

/// The body of a function that JavaScript calls. An `Err` is thrown as it is: a fault of this package's own
/// JavaScript, never of a user's argument (those are answered as data).
pub type Body = fn(&Call) -> std::result::Result<JsValue, &'static str>;

/// A function that JavaScript calls, and its name there.
pub struct Function {
    name: &'static str,
    body: Body,
    enter: unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> JsValue,
}

impl Function {
    /// A function that reads `COUNT` arguments at the most: each costs a little, missing ones too.
    pub const fn new<const COUNT: usize>(name: &'static str, body: Body) -> Self {
        Self {
            name,
            body,
            enter: enter::<COUNT>,
        }
    }
}

/// Adds a function to an object of exports.
pub fn export(env: sys::napi_env, exports: JsValue, function: &'static Function) -> napi::Result<()> {
    let Function { name, enter, .. } = function;
    let mut value = ptr::null_mut();
    let data = ptr::from_ref(function).cast_mut().cast::<c_void>();
    // SAFETY: `env` and `exports` are those of the module being registered; `name` is passed with its length;
    // `data` points to a static.
    unsafe {
        napi::check_status!(sys::napi_create_function(
            env,
            name.as_ptr().cast(),
            name.len() as isize,
            Some(*enter),
            data,
            &mut value
        ))?;
    }
    set_property(env, exports, name, value)
}

/// Adds an object to an object of exports, and gives it.
pub fn export_object(env: sys::napi_env, exports: JsValue, name: &str) -> napi::Result<JsValue> {
    let mut object = ptr::null_mut();
    // SAFETY: `env` is that of the module being registered; a pointer to a local.
    unsafe { napi::check_status!(sys::napi_create_object(env, &mut object))? };
    set_property(env, exports, name, object)?;
    Ok(object)
}

fn set_property(env: sys::napi_env, object: JsValue, name: &str, value: JsValue) -> napi::Result<()> {
    let mut key = ptr::null_mut();
    // SAFETY: the values belong to the module being registered; `name` is passed with its length.
    unsafe {
        napi::check_status!(sys::napi_create_string_utf8(
            env,
            name.as_ptr().cast(),
            name.len() as isize,
            &mut key
        ))?;
        napi::check_status!(sys::napi_set_property(env, object, key, value))
    }
}

/// What Node calls. No panic leaves it.
unsafe extern "C" fn enter<const COUNT: usize>(env: sys::napi_env, info: sys::napi_callback_info) -> JsValue {
    const { assert!(COUNT <= ARGUMENTS) };
    let mut arguments = [ptr::null_mut(); ARGUMENTS];
    let mut count = COUNT;
    let mut data = ptr::null_mut();
    // SAFETY: the pointers are to locals of at least the right size. Node fills missing arguments with `undefined`.
    let status = unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            &mut count,
            arguments.as_mut_ptr(),
            ptr::null_mut(),
            &mut data,
        )
    };
    if status != sys::Status::napi_ok || data.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: every function was made by `export`, whose data is a `&'static Function`.
    let &Function { name, body, .. } = unsafe { &*data.cast::<Function>() };
    let call = Call { env, name, arguments };
    let message = match panic::catch_unwind(panic::AssertUnwindSafe(|| body(&call))) {
        Ok(Ok(value)) => return value,
        Ok(Err(message)) => message,
        Err(_) => "internal error: the cache's native code panicked",
    };
    let mut text = ptr::null_mut();
    let mut error = ptr::null_mut();
    // SAFETY: the text is passed with its length; a failure leaves null pointers, which Node refuses.
    unsafe {
        sys::napi_create_string_utf8(env, message.as_ptr().cast(), message.len() as isize, &mut text);
        sys::napi_create_error(env, ptr::null_mut(), text, &mut error);
        sys::napi_throw(env, error);
    }
    ptr::null_mut()
}

/// The clock that a call came with. JavaScript's `Date.now` is asked only where something has replaced it, as
/// test suites do; else the system's clock is read here, if an age is at stake at all.
#[derive(Clone, Copy)]
pub struct JsClock(f64);

impl Clock for JsClock {
    fn now(self) -> f64 {
        if !self.0.is_nan() {
            return self.0;
        }
        // Whole milliseconds, as `Date.now()` has them.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since_epoch.as_millis() as f64
    }
}

/// The JavaScript types that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Undefined,
    Null,
    Boolean,
    Number,
    String,
    BigInt,
    Symbol,
    Function,
    Object,
}

impl Call {
    /// A call of a class of `napi-derive`, which has read its arguments itself.
    pub fn of(env: sys::napi_env) -> Self {
        Self {
            env,
            name: "",
            arguments: [ptr::null_mut(); ARGUMENTS],
        }
    }

    /// Node-API's environment.
    pub fn env(&self) -> sys::napi_env {
        self.env
    }

    /// The name of the function.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// An argument.
    pub fn argument(&self, index: usize) -> JsValue {
        self.arguments[index]
    }

    /// The type of a value.
    pub fn type_of(&self, value: JsValue) -> Type {
        let mut kind = sys::ValueType::napi_undefined;
        // SAFETY: `value` belongs to this call; a failure leaves `undefined`.
        unsafe { sys::napi_typeof(self.env, value, &mut kind) };
        match kind {
            sys::ValueType::napi_null => Type::Null,
            sys::ValueType::napi_boolean => Type::Boolean,
            sys::ValueType::napi_number => Type::Number,
            sys::ValueType::napi_string => Type::String,
            sys::ValueType::napi_bigint => Type::BigInt,
            sys::ValueType::napi_symbol => Type::Symbol,
            sys::ValueType::napi_function => Type::Function,
            sys::ValueType::napi_object | sys::ValueType::napi_external => Type::Object,
            _ => Type::Undefined,
        }
    }

    /// A number, if it is one.
    pub fn try_number(&self, value: JsValue) -> Option<f64> {
        let mut number = 0.0;
        // SAFETY: `value` belongs to this call, `number` is a local.
        let status = unsafe { sys::napi_get_value_double(self.env, value, &mut number) };
        (status == sys::Status::napi_ok).then_some(number)
    }

    /// A number; `NaN` for what is none.
    pub fn number(&self, value: JsValue) -> f64 {
        self.try_number(value).unwrap_or(f64::NAN)
    }

    /// The time, as JavaScript gives it: `NaN` says that its clock is the system's.
    pub fn clock(&self, value: JsValue) -> JsClock {
        JsClock(self.number(value))
    }

    /// A small whole number; 0 for what is none.
    pub fn index(&self, value: JsValue) -> u32 {
        let mut number = 0;
        // SAFETY: `value` belongs to this call; a failure leaves 0.
        unsafe { sys::napi_get_value_uint32(self.env, value, &mut number) };
        number
    }

    /// A boolean; `false` for what is none.
    pub fn bool(&self, value: JsValue) -> bool {
        let mut flag = false;
        // SAFETY: `value` belongs to this call; a failure leaves `false`.
        unsafe { sys::napi_get_value_bool(self.env, value, &mut flag) };
        flag
    }

    /// Passes the UTF-16 units of a string to `read`: no unit is lost, lone surrogates included.
    pub fn utf16<R>(&self, value: JsValue, read: impl FnOnce(&[u16]) -> R) -> R {
        let mut length = 0;
        // SAFETY: without a buffer Node gives the length alone.
        unsafe { sys::napi_get_value_string_utf16(self.env, value, ptr::null_mut(), 0, &mut length) };
        let mut units = vec![0u16; length + 1];
        // SAFETY: as above.
        unsafe {
            sys::napi_get_value_string_utf16(self.env, value, units.as_mut_ptr(), length + 1, &mut length)
        };
        read(&units[..length])
    }

    /// As [`Call::utf16`], into room that can be used again.
    pub fn utf16_into(&self, value: JsValue, units: &mut Vec<u16>) {
        units.resize(512, 0);
        let mut length = 0;
        loop {
            // SAFETY: the room is passed with its size; Node writes at most that, a terminating 0 included.
            unsafe {
                let room = units.as_mut_ptr();
                sys::napi_get_value_string_utf16(self.env, value, room, units.len(), &mut length)
            };
            // One less than the room may be a string that goes on.
            if length + 1 < units.len() {
                return units.truncate(length);
            }
            // SAFETY: without a buffer Node gives the length alone.
            unsafe { sys::napi_get_value_string_utf16(self.env, value, ptr::null_mut(), 0, &mut length) };
            units.resize(length + 2, 0);
        }
    }

    /// A string as UTF-8, in room that can be used again; lone surrogates become U+FFFD. Empty for what is no string.
    pub fn utf8<'a>(
        &self,
        value: JsValue,
        room: &'a mut Vec<u8>,
    ) -> std::result::Result<&'a str, &'static str> {
        if room.is_empty() {
            room.resize(1024, 0);
        }
        let mut length = 0;
        loop {
            // SAFETY: the room is passed with its size; Node writes at most that, a terminating 0 included. What is
            // no string leaves `length` as it is.
            unsafe {
                let start = room.as_mut_ptr().cast();
                sys::napi_get_value_string_utf8(self.env, value, start, room.len(), &mut length)
            };
            // No part of a character is written: up to 3 bytes less than the room may be a string that goes on.
            if length + 4 < room.len() {
                break;
            }
            // SAFETY: without a buffer Node gives the length alone.
            unsafe { sys::napi_get_value_string_utf8(self.env, value, ptr::null_mut(), 0, &mut length) };
            room.resize(length + 5, 0);
        }
        std::str::from_utf8(&room[..length]).map_err(|_| "internal error: a string of JavaScript is no UTF-8")
    }

    /// Passes the bytes of a key to `run`, or says why it is none. Most keys need no allocation.
    pub fn with_key<R>(&self, value: JsValue, run: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        let mut units = [0u16; ASCII_BYTES];
        let mut length = 0;
        // SAFETY: `units` has the size that is given; Node writes at most that, a terminating 0 included.
        let status = unsafe {
            sys::napi_get_value_string_utf16(self.env, value, units.as_mut_ptr(), ASCII_BYTES, &mut length)
        };
        let mut bytes = [0; ASCII_BYTES];
        // One less than the room may be a string that goes on.
        if status == sys::Status::napi_ok
            && length + 1 < ASCII_BYTES
            && let Some(key) = key::ascii(&units[..length], &mut bytes)
        {
            return run(key);
        }
        run(self.key(value)?.as_bytes())
    }

    /// Reads a key, or says why it is none.
    pub fn key(&self, value: JsValue) -> Result<Key> {
        Ok(match self.type_of(value) {
            Type::String => self.utf16(value, Key::utf16),
            Type::Number => Key::number(self.number(value)),
            Type::Boolean => Key::bool(self.bool(value)),
            Type::Null => Key::null(),
            Type::Undefined => Key::undefined(),
            Type::BigInt => self.big_int(value)?,
            Type::Symbol => return Err(no_key("a symbol")),
            Type::Function => return Err(no_key("a function")),
            Type::Object => return Err(no_key("an object")),
        })
    }

    fn big_int(&self, value: JsValue) -> Result<Key> {
        let mut text = ptr::null_mut();
        // SAFETY: `value` belongs to this call; a bigint's own conversion to a string runs no user code.
        unsafe { sys::napi_coerce_to_string(self.env, value, &mut text) };
        let digits = self.utf16(text, String::from_utf16_lossy);
        Key::big_int(&digits).ok_or_else(|| no_key("a bigint of too many digits"))
    }

    /// Reads many keys: an array, or strings joined with `'\0'`, `count` of them. `None` when joined ones must
    /// come as an array instead. May run code of the user (a proxy's traps), so no lock may be held.
    pub fn keys(&self, value: JsValue, count: usize) -> Result<Option<KeyList>> {
        if self.type_of(value) == Type::String {
            return Ok(self.utf16(value, |units| KeyList::joined(units, count)));
        }
        let mut keys = KeyList::default();
        for index in 0..self.length(value) {
            self.with_key(self.element(value, index)?, |key| keys.push(key))?;
        }
        if keys.len() != count {
            return Err(Error::argument("the keys changed while they were read"));
        }
        Ok(Some(keys))
    }

    /// The length of an array; 0 for what is none.
    pub fn length(&self, array: JsValue) -> u32 {
        let mut length = 0;
        // SAFETY: `array` belongs to this call; a failure leaves 0.
        unsafe { sys::napi_get_array_length(self.env, array, &mut length) };
        length
    }

    /// An element of an array.
    ///
    /// # Errors
    /// Code of the user (a getter, a proxy's trap) threw: what it threw is pending, and JavaScript gets it
    /// whatever is answered here.
    pub fn element(&self, array: JsValue, index: u32) -> Result<JsValue> {
        let mut element = ptr::null_mut();
        // SAFETY: `array` belongs to this call, `element` is a local.
        let status = unsafe { sys::napi_get_element(self.env, array, index, &mut element) };
        if status == sys::Status::napi_ok {
            Ok(element)
        } else {
            Err(Error::argument("the array cannot be read"))
        }
    }

    /// A text argument of this package's own making.
    pub fn text(&self, value: JsValue) -> String {
        self.utf16(value, String::from_utf16_lossy)
    }

    /// The elements of a typed array that this package's JavaScript made for the call; none for any other
    /// value.
    pub fn typed_array<T: Element>(&self, value: JsValue) -> &[Cell<T>] {
        let mut kind = 0;
        let (mut length, mut data) = (0, ptr::null_mut());
        // SAFETY: `value` belongs to this call, all pointers are to locals.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                value,
                &mut kind,
                &mut length,
                &mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if status != sys::Status::napi_ok || kind != T::KIND || length == 0 || data.is_null() {
            return &[];
        }
        // SAFETY: Node gave `length` elements of this very type at `data`, aligned as a typed array is. The
        // array is an argument, so it lives for the call; only this package's JavaScript holds it, so nothing
        // detaches it; cells allow that two slices of one array overlap.
        unsafe { std::slice::from_raw_parts(data.cast(), length) }
    }

    /// `undefined`
    pub fn undefined(&self) -> JsValue {
        let mut value = ptr::null_mut();
        // SAFETY: a pointer to a local.
        unsafe { sys::napi_get_undefined(self.env, &mut value) };
        value
    }

    /// `null`
    pub fn null(&self) -> JsValue {
        let mut value = ptr::null_mut();
        // SAFETY: a pointer to a local.
        unsafe { sys::napi_get_null(self.env, &mut value) };
        value
    }

    /// A boolean for JavaScript.
    pub fn js_bool(&self, flag: bool) -> JsValue {
        let mut value = ptr::null_mut();
        // SAFETY: a pointer to a local.
        unsafe { sys::napi_get_boolean(self.env, flag, &mut value) };
        value
    }

    /// A number for JavaScript.
    pub fn js_number(&self, number: f64) -> JsValue {
        let mut value = ptr::null_mut();
        // SAFETY: a pointer to a local.
        unsafe { sys::napi_create_double(self.env, number, &mut value) };
        value
    }

    /// A string for JavaScript, from WTF-8.
    pub fn js_string(&self, bytes: &[u8]) -> JsValue {
        let mut value = ptr::null_mut();
        // SAFETY: each text is passed with its length.
        unsafe {
            if bytes.is_ascii() {
                sys::napi_create_string_latin1(
                    self.env,
                    bytes.as_ptr().cast(),
                    bytes.len() as isize,
                    &mut value,
                );
            } else if std::str::from_utf8(bytes).is_ok() {
                sys::napi_create_string_utf8(
                    self.env,
                    bytes.as_ptr().cast(),
                    bytes.len() as isize,
                    &mut value,
                );
            } else if let Ok(units) = wtf8::to_utf16(bytes) {
                sys::napi_create_string_utf16(self.env, units.as_ptr(), units.len() as isize, &mut value);
            }
        }
        value
    }

    /// A key for JavaScript, as it came.
    pub fn js_key(&self, bytes: &[u8]) -> JsValue {
        match KeyView::of(bytes) {
            KeyView::String(wtf8) => self.js_string(wtf8),
            KeyView::Number(number) => self.js_number(number),
            KeyView::Bool(flag) => self.js_bool(flag),
            KeyView::Null => self.null(),
            KeyView::Undefined => self.undefined(),
            KeyView::BigInt(digits) => self.js_big_int(digits),
        }
    }

    fn js_big_int(&self, digits: &str) -> JsValue {
        let (negative, words) = words(digits);
        let mut value = ptr::null_mut();
        // SAFETY: the words are passed with their number.
        unsafe {
            sys::napi_create_bigint_words(self.env, negative.into(), words.len(), words.as_ptr(), &mut value)
        };
        value
    }

    /// A copy of bytes as a `Buffer`; null where there is no memory for it.
    pub fn js_buffer(&self, bytes: &[u8]) -> JsValue {
        let mut value = ptr::null_mut();
        // SAFETY: Node copies `bytes`, passed with their length.
        unsafe {
            sys::napi_create_buffer_copy(
                self.env,
                bytes.len(),
                bytes.as_ptr().cast(),
                ptr::null_mut(),
                &mut value,
            )
        };
        if value.is_null() {
            // Node has thrown; the caller says what is wrong.
            let mut thrown = ptr::null_mut();
            // SAFETY: a pointer to a local.
            unsafe { sys::napi_get_and_clear_last_exception(self.env, &mut thrown) };
        }
        value
    }

    /// A copy of numbers as a typed array; null where there is no memory for it.
    pub fn js_numbers<T: Element>(&self, numbers: &[Cell<T>]) -> JsValue {
        // SAFETY: `T` is a number (see `Element`), so all of its bytes are set, and a cell has the layout of what is
        // in it. Nobody writes the cells while the slice is used: they belong to this thread.
        let bytes = unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) };
        // A plain buffer of a typed array can end the process where there is no memory: this way throws.
        let buffer = self.js_buffer(bytes);
        let (mut array, mut memory, mut offset) = (ptr::null_mut(), ptr::null_mut(), 0);
        // SAFETY: all pointers are to locals or, where they are not needed, null. A failure leaves nulls, which the
        // next call refuses.
        unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                buffer,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                &mut memory,
                &mut offset,
            );
            sys::napi_create_typedarray(self.env, T::KIND, numbers.len(), memory, offset, &mut array);
        }
        array
    }

    /// An array of values.
    pub fn array(&self, values: &[JsValue]) -> JsValue {
        let mut array = ptr::null_mut();
        // SAFETY: the values belong to this call; a failure leaves a null that the next call refuses.
        unsafe {
            sys::napi_create_array_with_length(self.env, values.len(), &mut array);
            for (index, value) in values.iter().enumerate() {
                sys::napi_set_element(self.env, array, index as u32, *value);
            }
        }
        array
    }

    /// An error as data: `[class, message, code]`. JavaScript makes the error, in its own context.
    pub fn js_error(&self, error: &Error) -> JsValue {
        self.array(&[
            self.js_string(error.class.name().as_bytes()),
            self.js_string(error.message.as_bytes()),
            self.js_string(error.code.as_str().as_bytes()),
        ])
    }
}

fn no_key(what: &str) -> Error {
    Error::argument(format!(
        "a key must be a string, number, bigint, boolean, null or undefined, got {what}"
    ))
}

/// Sign and 64-bit words, least significant first, of a decimal number.
fn words(digits: &str) -> (bool, Vec<u64>) {
    let negative = digits.starts_with('-');
    let mut words: Vec<u64> = vec![];
    for digit in digits.bytes().filter(u8::is_ascii_digit) {
        let mut carry = u128::from(digit - b'0');
        for word in &mut words {
            carry += u128::from(*word) * 10;
            *word = carry as u64;
            carry >>= 64;
        }
        if carry > 0 {
            words.push(carry as u64);
        }
    }
    (negative, words)
}

/// Elements of the typed arrays that cross here: numbers alone, any bytes of which are one.
pub trait Element: Copy {
    /// Node-API's number for the array type.
    const KIND: sys::napi_typedarray_type;
}

impl Element for u8 {
    const KIND: sys::napi_typedarray_type = sys::TypedarrayType::uint8_array;
}

impl Element for i32 {
    const KIND: sys::napi_typedarray_type = sys::TypedarrayType::int32_array;
}

impl Element for f64 {
    const KIND: sys::napi_typedarray_type = sys::TypedarrayType::float64_array;
}
