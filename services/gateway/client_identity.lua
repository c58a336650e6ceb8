-- Who the caller of /ingest/ is: the one URI in its verified certificate (contracts section 2).
-- nginx has no variable for subjectAltName, so it is read with the OpenSSL that verified the chain:
-- one parser, no second opinion about the same bytes.
local ffi = require "ffi"

ffi.cdef[[
void *BIO_new_mem_buf(const void *buf, int len);
int BIO_free(void *bio);
void *PEM_read_bio_X509(void *bio, void **x, void *callback, void *user);
void X509_free(void *certificate);
void *X509_get_ext_d2i(const void *certificate, int nid, int *critical, int *index);
int OPENSSL_sk_num(const void *stack);
void *OPENSSL_sk_value(const void *stack, int index);
void *GENERAL_NAME_get0_value(const void *name, int *kind);
void GENERAL_NAMES_free(void *names);
int ASN1_STRING_length(const void *text);
const unsigned char *ASN1_STRING_get0_data(const void *text);
]]

local SUBJECT_ALT_NAME = 85 -- NID_subject_alt_name
local URI = 6               -- GEN_URI

local M = {}
local gateway_key

-- Read the secret that the archive shares with this gateway; without it nginx does not start.
function M.load_key(path)
    local file = assert(io.open(path, "r"))
    gateway_key = assert(file:read("*l"), path .. " is empty")
    file:close()
    assert(#gateway_key >= 32, path .. " holds a key of less than 32 characters")
end

-- That secret, for what the gateway asks in its own name.
function M.key()
    return gateway_key
end

-- The only subjectAltName of a certificate, when it is a URI; otherwise nil.
-- Two names would leave open which one counts, so they are as good as none.
function M.uri(pem)
    local bio = ffi.C.BIO_new_mem_buf(pem, #pem)
    if bio == nil then return nil end
    local certificate = ffi.C.PEM_read_bio_X509(bio, nil, nil, nil)
    ffi.C.BIO_free(bio)
    if certificate == nil then return nil end
    local names = ffi.C.X509_get_ext_d2i(certificate, SUBJECT_ALT_NAME, nil, nil)
    ffi.C.X509_free(certificate)
    if names == nil then return nil end
    local uri
    if ffi.C.OPENSSL_sk_num(names) == 1 then
        local kind = ffi.new("int[1]")
        local value = ffi.C.GENERAL_NAME_get0_value(ffi.C.OPENSSL_sk_value(names, 0), kind)
        if kind[0] == URI then
            uri = ffi.string(ffi.C.ASN1_STRING_get0_data(value), ffi.C.ASN1_STRING_length(value))
        end
    end
    ffi.C.GENERAL_NAMES_free(names)
    return uri
end

-- Lets a request pass with $pacs_institution, $pacs_site and $pacs_gateway_key set, or leaves for a problem document.
-- `pattern` matches the whole URI and captures both; `refused` is a set of "institution/site".
function M.demand(pattern, refused)
    if ngx.var.ssl_client_verify ~= "SUCCESS" then
        return ngx.exec("@no_certificate")
    end
    local uri = M.uri(ngx.var.ssl_client_raw_cert)
    local match = uri and ngx.re.match(uri, pattern, "jo")
    if not match or refused[match[1] .. "/" .. match[2]] then
        return ngx.exec("@certificate")
    end
    ngx.var.pacs_institution, ngx.var.pacs_site = match[1], match[2]
    ngx.var.pacs_gateway_key = gateway_key
end

return M
