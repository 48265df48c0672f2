//! Shrinks a PNG to a thumbnail of at most 128 pixels a side.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits};
use stockade_guest::Rejection;

const SIDE_PIXELS: u32 = 128;
/// A small file can promise a huge picture; this is what the memory limit leaves room for.
const MAX_DECODED_BYTES: u64 = 24 << 20;

stockade_guest::task!(shrink);

fn shrink(input: &[u8]) -> Result<Vec<u8>, Rejection> {
    let picture = decode(input)?;
    let mut thumbnail = Cursor::new(Vec::new());
    shrink_to_fit(&picture)
        .write_to(&mut thumbnail, ImageFormat::Png)
        .map_err(|error| unreadable(&error))?;
    Ok(thumbnail.into_inner())
}

fn decode(input: &[u8]) -> Result<DynamicImage, Rejection> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let decoder =
        PngDecoder::with_limits(Cursor::new(input), limits).map_err(|error| unreadable(&error))?;
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(Rejection::permanent("the picture has too many pixels"));
    }
    DynamicImage::from_decoder(decoder).map_err(|error| unreadable(&error))
}

/// A picture that is small already stays as it is.
fn shrink_to_fit(picture: &DynamicImage) -> DynamicImage {
    if picture.width().max(picture.height()) <= SIDE_PIXELS {
        return picture.clone();
    }
    picture.thumbnail(SIDE_PIXELS, SIDE_PIXELS)
}

fn unreadable(error: &ImageError) -> Rejection {
    Rejection::permanent(format!("the picture cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat, load_from_memory};

    use super::shrink;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, height)
            .write_to(&mut bytes, ImageFormat::Png)
            .expect("a picture");
        bytes.into_inner()
    }

    fn size_after(width: u32, height: u32) -> (u32, u32) {
        let thumbnail = shrink(&png(width, height)).expect("a thumbnail");
        let picture = load_from_memory(&thumbnail).expect("a picture");
        (picture.width(), picture.height())
    }

    #[test]
    fn the_shape_is_kept() {
        assert_eq!(size_after(512, 256), (128, 64));
        assert_eq!(size_after(1, 1000), (1, 128));
    }

    #[test]
    fn a_small_picture_is_not_blown_up() {
        assert_eq!(size_after(20, 10), (20, 10));
    }

    #[test]
    fn too_many_pixels_are_rejected_before_they_are_decoded() {
        let error = shrink(&png(6000, 6000)).expect_err("a rejection");
        assert!(error.message().contains("too many pixels"), "{error}");
    }

    #[test]
    fn what_is_no_png_is_rejected() {
        assert!(shrink(b"").is_err());
        assert!(shrink(b"GIF89a").is_err());
        assert!(shrink(&png(64, 64)[..60]).is_err());
    }
}
